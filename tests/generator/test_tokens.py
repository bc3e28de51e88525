"""A form whose token is too old, and one that is not this site's own."""

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


def test_json_brings_a_token_with_which_the_form_is_good(
    strict: Client, live: ModelVersion
) -> None:
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


def test_so_it_does_for_who_has_no_cookie_any_more(strict: Client, live: ModelVersion) -> None:
    token = ask(strict).json()["csrf_token"]
    good = strict.post(
        "/generations/",
        {"prompt": "Kept", "csrfmiddlewaretoken": token},
        headers={"accept": "application/json"},
    )
    assert good.status_code == 201


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_another_origin_gets_no_token_and_no_desk(
    strict: Client, live: ModelVersion, origin: str
) -> None:
    strict.get("/")
    refused = ask(strict, origin=origin)
    assert refused.status_code == 403
    assert "csrf_token" not in refused.json()
    page = ask(strict, origin=origin, accept="text/html")
    assert (page.status_code, "Kept" in page.text) == (403, False)
    assert not Generation.objects.exists()


def test_who_was_signed_in_by_the_first_click_is_led_on_by_the_second(strict: Client) -> None:
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
