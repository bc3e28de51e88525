"""What a submit answers: 201 for what can be written, else when to come back.

Bad input is in tests/integration/test_bad_submits.py.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from django.test import Client

from charrnn_site.logs import RefusalsWithoutTraceback
from generator.models import Generation, ModelVersion, Owner
from tests.generator.conftest import GOOD, OTHER_SAMPLING, make_version, submit


def test_a_good_submit_is_stored_and_answered_with_its_addresses(
    client: Client, live: ModelVersion, owner: Owner
) -> None:
    response = submit(client, top_k=20, top_p=0.9, stop=["\n\n"], seed=5, version=1)
    assert response.status_code == 201
    row = Generation.objects.get()
    assert response.json() == {
        "id": str(row.pk),
        "url": f"/generations/{row.pk}/",
        "socket": f"/ws/generations/{row.pk}/",
        "seed": "5",
    }
    assert (row.visitor, row.state, row.prompt, row.length, row.top_k) == (
        owner.visitor,
        "queued",
        "It was",
        100,
        20,
    )
    assert (row.top_p, row.stop, row.seed, row.model_version) == (0.9, ["\n\n"], 5, live)


def test_an_unknown_parameter_is_named(client: Client, live: ModelVersion) -> None:
    response = submit(client, temprature=0.5)
    assert response.status_code == 400
    assert "temprature" in response.json()["errors"]["__all__"][0]


def test_a_form_submit_redirects_to_the_permalink_and_keeps_line_ends_plain(
    live: ModelVersion,
) -> None:
    browser = Client()
    response = browser.post(
        "/generations/",
        {"prompt": "one\r\ntwo", "length": "50", "temperature": "0.5", "stop": "a\r\n\r\nb"},
    )
    row = Generation.objects.get()
    assert (response.status_code, response["Location"]) == (302, f"/generations/{row.pk}/")
    assert (row.prompt, row.stop) == ("one\ntwo", ["a", "b"])
    assert browser.get(f"/generations/{row.pk}/").status_code == 200


def test_what_is_left_out_has_its_default(client: Client, live: ModelVersion) -> None:
    assert client.post("/generations/", "{}", content_type="application/json").status_code == 201
    row = Generation.objects.get()
    assert (row.prompt, row.length, row.temperature, row.top_k) == ("", 500, 0.7, None)


def test_a_random_seed_differs_from_submit_to_submit(client: Client, live: ModelVersion) -> None:
    assert len({submit(client).json()["seed"] for _ in range(3)}) == 3


def test_the_same_client_key_makes_one_generation(client: Client, live: ModelVersion) -> None:
    first, second = (submit(client, client_key="once").json()["id"] for _ in range(2))
    assert first == second
    assert Generation.objects.count() == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"prompt": "It is"},
        {"version": 2},
        *({name: value} for name, value in OTHER_SAMPLING.items()),
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_same_client_key_for_another_text_is_409_and_says_so(
    client: Client, live: ModelVersion, changed: dict[str, Any]
) -> None:
    make_version(2)
    first = submit(client, client_key="once")
    other = submit(client, client_key="once", **changed)
    assert (first.status_code, other.status_code, "Retry-After" in other) == (201, 409, False)
    assert other.json()["errors"]["__all__"] == [
        "This form was already used for another text. Send it again to start this one too."
    ]
    assert submit(client, client_key="once").json()["id"] == first.json()["id"]
    page = client.post(
        "/generations/", {**GOOD, **changed, "client_key": "once"}, headers={"accept": "text/html"}
    )
    assert (page.status_code, "Send it again" in page.text) == (409, True)
    (key,) = set(re.findall(r'name="client_key" value="([^"]+)"', page.text))
    again = client.post(
        "/generations/", {**GOOD, **changed, "client_key": key}, headers={"accept": "text/html"}
    )
    assert (again.status_code, Generation.objects.count()) == (302, 2)


def test_a_chosen_version_is_pinned(client: Client, live: ModelVersion) -> None:
    other = make_version(2)
    submit(client, version=2)
    assert Generation.objects.get().model_version == other


def test_without_a_live_version_the_page_says_so(client: Client) -> None:
    refused = submit(client)
    assert refused.status_code == 503
    assert "No model is live" in refused.json()["errors"]["__all__"][0]


def test_a_body_that_is_too_large_is_400_as_json_and_one_line_in_the_log(
    client: Client, live: ModelVersion, caplog: pytest.LogCaptureFixture
) -> None:
    response = client.post("/generations/", b" " * 300_000, content_type="application/json")
    assert response.status_code == 400
    assert response.json()["errors"]
    (record,) = [record for record in caplog.records if record.name.startswith("django.security")]
    assert RefusalsWithoutTraceback().filter(record)
    assert record.exc_info is None


def test_head_is_a_get_without_a_body(client: Client, live: ModelVersion) -> None:
    assert [client.head(path).status_code for path in ("/", "/history/", "/healthz")] == [
        200,
        200,
        200,
    ]


def test_again_with_the_same_client_key_makes_one_generation(
    client: Client, live: ModelVersion
) -> None:
    url = submit(client).json()["url"]
    first, second = (
        client.post(f"{url}again/", {"seed": "new", "client_key": "k"}).json()["id"]
        for _ in range(2)
    )
    other = client.post(f"{url}again/", {"seed": "new", "client_key": "l"}).json()["id"]
    assert first == second != other
    assert client.post(f"{url}again/", {"seed": "same", "client_key": "k"}).status_code == 409
    assert client.post(f"{url}again/", {"seed": "new", "client_key": "k" * 65}).status_code == 400
    assert Generation.objects.count() == 3


def test_a_submit_without_a_cookie_makes_a_visitor_whatever_its_answer(
    live: ModelVersion, settings: Any
) -> None:
    settings.QUEUE_MAX_LENGTH = 1
    answers = [
        submit(Client(headers={"accept": "application/json"}), length=length)
        for length in (0, 10, 10)
    ]
    assert [answer.status_code for answer in answers] == [400, 201, 503]
    assert [settings.VISITOR_COOKIE_NAME in answer.cookies for answer in answers] == [True] * 3
    assert not Session.objects.exists()


def locked_error() -> OperationalError:
    """Return what Django raises when another connection holds the lock."""
    error = OperationalError("database is locked")
    error.__cause__ = cause = sqlite3.OperationalError("database is locked")
    cause.sqlite_errorname = "SQLITE_BUSY"
    return error


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_busy_database_is_503_with_a_sentence_and_no_traceback(
    client: Client, live: ModelVersion, accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    def locked(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith(("INSERT", "BEGIN")):
            raise locked_error()
        return execute(sql, *rest)

    with connection.execute_wrapper(locked):
        answer = client.post("/generations/", GOOD, headers={"accept": accept})
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "The database is busy" in answer.text
    assert ("<html" in answer.text) is (accept == "text/html")
    assert not [record for record in caplog.records if record.exc_info]


def test_a_database_that_goes_away_before_the_session_is_saved_is_503_too(
    live: ModelVersion,
) -> None:
    def locked(execute: Any, sql: str, *rest: Any) -> Any:
        if "django_session" in sql:
            raise locked_error()
        return execute(sql, *rest)

    User.objects.create_user("ada", password="a-long-enough-one")
    browser = Client(headers={"accept": "application/json"}, raise_request_exception=False)
    with connection.execute_wrapper(locked):
        answer = browser.post(
            "/accounts/login/", {"username": "ada", "password": "a-long-enough-one"}
        )
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
