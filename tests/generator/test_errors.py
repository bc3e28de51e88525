"""Answers without a view: faults in SQL, forms with a wrong origin or token; and their logs."""

from __future__ import annotations

import logging
import sqlite3
import sys
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client

from charrnn_site.logs import RefusalsWithoutTraceback
from charrnn_site.middleware import SameOriginSockets
from generator.models import ModelVersion
from generator.web.actions import TOO_OLD

GOOD = {"prompt": "Once", "length": "10", "temperature": "0.8"}
ACCEPTS = ["text/html", "application/json"]


def broken(table: str) -> Any:
    """Return a wrapper under which statements on a table ask for a column that is not there."""

    def ask(execute: Any, sql: str, parameters: Any, *rest: Any) -> Any:
        return (
            execute(f"SELECT no_such_column FROM {table}", None, *rest)
            if table in sql
            else execute(sql, parameters, *rest)
        )

    return connection.execute_wrapper(ask)


@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize("table", ["generator_generation", "django_session"])
def test_a_fault_in_sql_is_500_with_its_traceback_and_not_busy(
    live: ModelVersion, caplog: pytest.LogCaptureFixture, accept: str, table: str
) -> None:
    browser = Client(headers={"accept": accept}, raise_request_exception=False)
    browser.force_login(User.objects.create_user("reader"))
    with broken(table):
        answer = browser.post("/generations/", GOOD)
    assert answer.status_code == 500
    assert "Retry-After" not in answer
    assert "busy" not in answer.text
    [logged] = [record for record in caplog.records if record.exc_info]
    assert isinstance(logged.exc_info[1], OperationalError)  # type: ignore[index]
    RefusalsWithoutTraceback().filter(logged)
    assert "no such column" in logging.Formatter().format(logged)


def test_the_log_omits_the_traceback_only_of_a_lock() -> None:
    def formatted(cause: str) -> str:
        try:
            error = sqlite3.OperationalError(cause)
            error.sqlite_errorname = "SQLITE_BUSY" if "lock" in cause else "SQLITE_ERROR"
            raise OperationalError(cause) from error
        except OperationalError:
            record = logging.LogRecord(
                "django.request", logging.ERROR, "", 0, "Server Error", None, sys.exc_info()
            )
        RefusalsWithoutTraceback().filter(record)
        return logging.Formatter().format(record)

    assert formatted("database is locked") == "Server Error"
    assert "no such table" in formatted("no such table: texts")


def forger(accept: str, **headers: str) -> Client:
    """Return a browser whose forms are checked, and which has the cookie."""
    browser = Client(enforce_csrf_checks=True, headers={"accept": accept, **headers})
    browser.get("/")
    return browser


@pytest.mark.parametrize("accept", ACCEPTS)
def test_a_form_from_an_unknown_origin_gets_the_setting_that_helps(
    live: ModelVersion, accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    browser = forger(accept, origin="https://write.example.org")
    answer = browser.post(
        "/generations/",
        GOOD | {"csrfmiddlewaretoken": browser.cookies[settings.CSRF_COOKIE_NAME].value},
    )
    assert answer.status_code == 403
    assert "CSRF_TRUSTED_ORIGINS" in answer.text
    assert "cookies" not in answer.text
    assert "csrf_token" not in answer.text
    assert ("https://write.example.org" in answer.text) is (accept == "text/html")
    assert any("CSRF_TRUSTED_ORIGINS" in record.message for record in caplog.records)


def test_so_does_a_form_without_an_origin(live: ModelVersion) -> None:
    browser = forger("text/html")
    for referer in (
        {},
        {"referer": "https://write.example.org/"},
        {"referer": "http://testserver/"},
    ):
        answer = browser.post("/generations/", GOOD, secure=True, headers=referer)
        assert answer.status_code == 403
        assert "CSRF_TRUSTED_ORIGINS" in answer.text


@pytest.mark.parametrize("accept", ACCEPTS)
def test_an_unknown_host_gets_the_setting_that_helps(db: None, accept: str) -> None:
    answer = Client(headers={"accept": accept, "host": "write.example.org"}).get("/")
    assert answer.status_code == 400
    assert "ALLOWED_HOSTS" in answer.text
    assert "write.example.org" not in answer.text


def test_an_origin_is_shown_as_text(live: ModelVersion) -> None:
    answer = forger("text/html", origin="https://<script>alert(1)</script>").post(
        "/generations/", GOOD
    )
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


@pytest.mark.parametrize("token", ["", "x" * 64, "short"])
@pytest.mark.parametrize("has_cookie", [True, False])
def test_a_page_that_is_too_old_gets_a_new_token(
    live: ModelVersion, token: str, has_cookie: bool
) -> None:
    browser = forger("application/json")
    if not has_cookie:
        browser.cookies.clear()
    refused = browser.post("/generations/", GOOD | {"csrfmiddlewaretoken": token})
    assert refused.status_code == 403
    assert refused.json()["errors"]["__all__"] == [TOO_OLD]
    accepted = browser.post(
        "/generations/", GOOD | {"csrfmiddlewaretoken": refused.json()["csrf_token"]}
    )
    assert accepted.status_code == 201


def test_a_page_that_is_too_old_says_so(live: ModelVersion) -> None:
    answer = forger("text/html").post("/generations/", GOOD)
    assert answer.status_code == 403
    assert "This page had become too old" in answer.text
    assert "CSRF_TRUSTED_ORIGINS" not in answer.text


async def asked(*headers: tuple[bytes, bytes]) -> list[str]:
    """Open a socket below the origin check, and return what became of it."""
    became: list[str] = []

    async def application(*_: Any) -> None:
        became.append("let in")

    async def send(message: dict[str, Any]) -> None:
        became.append(message["type"])

    await SameOriginSockets(application)({"type": "websocket", "headers": headers}, None, send)
    return became


async def test_the_log_of_a_refused_socket_names_the_setting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await asked((b"origin", b"https://write.example.org"), (b"host", b"localhost:8000")) == [
        "websocket.close"
    ]
    [line] = [record.message for record in caplog.records]
    assert "CSRF_TRUSTED_ORIGINS" in line
    assert "https://write.example.org" in line


@pytest.mark.parametrize("https", [True, False])
@pytest.mark.parametrize("said", [b"https", b"http", b""])
async def test_the_scheme_of_a_proxy_that_ends_tls_counts_for_sockets_as_for_forms(
    settings: Any, https: bool, said: bytes
) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if https else None
    host = (b"host", b"localhost"), (b"x-forwarded-proto", said)
    secure = https and said == b"https"
    assert (await asked((b"origin", b"https://localhost"), *host) == ["let in"]) is secure
    assert (await asked((b"origin", b"http://localhost"), *host) == ["let in"]) is not secure
