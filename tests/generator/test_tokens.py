"""Forms with a token that is too old, and forms from another site."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from generator.models import Generation, ModelVersion

PASSWORD = "a-long-enough-one"
OLD = {"csrfmiddlewaretoken": "x" * 64}


@pytest.fixture
def strict(db: None) -> Client:
    """A browser whose forms are checked."""
    return Client(enforce_csrf_checks=True)


def ask(browser: Client, **headers: str) -> Any:
    return browser.post(
        "/generations/",
        {"prompt": "Kept", **OLD},
        headers={"accept": "application/json", **headers},
    )


def test_the_json_answer_has_a_token_that_works(strict: Client, live: ModelVersion) -> None:
    strict.get("/")
    refused = ask(strict)
    assert refused.status_code == 403
    assert "too old" in refused.json()["errors"]["__all__"][0]
    token = refused.json()["csrf_token"]
    good = strict.post(
        "/generations/",
        {"prompt": "Kept", "csrfmiddlewaretoken": token},
        headers={"accept": "application/json"},
    )
    assert good.status_code == 201


def test_it_has_one_also_without_a_cookie(strict: Client, live: ModelVersion) -> None:
    token = ask(strict).json()["csrf_token"]
    good = strict.post(
        "/generations/",
        {"prompt": "Kept", "csrfmiddlewaretoken": token},
        headers={"accept": "application/json"},
    )
    assert good.status_code == 201


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_another_origin_gets_neither_token_nor_desk(
    strict: Client, live: ModelVersion, origin: str
) -> None:
    strict.get("/")
    refused = ask(strict, origin=origin)
    assert refused.status_code == 403
    assert "csrf_token" not in refused.json()
    page = ask(strict, origin=origin, accept="text/html")
    assert (page.status_code, "Kept" in page.text) == (403, False)
    assert not Generation.objects.exists()


def test_the_second_click_on_sign_in_leads_where_the_first_did(strict: Client) -> None:
    user = User.objects.create_user("ada", password=PASSWORD, is_staff=True)
    strict.force_login(user)
    for path, to in (
        ("/accounts/login/", "/"),
        ("/accounts/signup/", "/"),
        ("/admin/login/", "/admin/"),
    ):
        second = strict.post(path, {"username": "ada", "password": PASSWORD, **OLD})
        assert (second.status_code, second["Location"]) == (302, to)
        other = strict.post(path, {"username": "bob", "password": PASSWORD, **OLD})
        assert (other.status_code, "This page was too old" in other.text) == (403, True)
    nobody = Client(enforce_csrf_checks=True).post("/accounts/login/", {"username": "", **OLD})
    assert nobody.status_code == 403
