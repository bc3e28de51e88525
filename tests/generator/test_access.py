"""Texts of others look as if they did not exist: every page and every change, in every state."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from generator.models import Generation, ModelVersion, Owner
from tests.generator.conftest import visitor_client

READS = ["", "export.txt", "export.json"]
CHANGES = ["cancel/", "delete/", "again/"]
Make = Callable[..., Generation]


@pytest.mark.parametrize("state", ["queued", "running", "done", "cancelled", "failed"])
@pytest.mark.parametrize("path", READS)
def test_reads_of_another_are_404(
    client: Client, stranger: Client, make_generation: Make, path: str, state: str
) -> None:
    url = f"/generations/{make_generation(state=state).pk}/{path}"
    assert client.get(url).status_code == 200
    assert stranger.get(url).status_code == 404
    assert Client().get(url).status_code == 404


@pytest.mark.parametrize("state", ["queued", "running", "done", "cancelled", "failed"])
@pytest.mark.parametrize("path", CHANGES)
def test_changes_by_another_are_404_and_change_nothing(
    stranger: Client, make_generation: Make, path: str, state: str
) -> None:
    generation = make_generation(state=state)
    url = f"/generations/{generation.pk}/{path}"
    assert stranger.post(url).status_code == 404
    assert Client(headers={"accept": "application/json"}).post(url).status_code == 404
    assert Generation.objects.filter(pk=generation.pk, state=state, cancel_requested=False).exists()
    assert Generation.objects.count() == 1


@pytest.mark.parametrize("path", READS + CHANGES)
def test_what_does_not_exist_is_404_like_what_is_anothers(
    client: Client, live: ModelVersion, path: str
) -> None:
    call = client.get if path in READS else client.post
    assert call(f"/generations/{uuid.uuid4()}/{path}").status_code == 404
    assert call(f"/generations/not-an-id/{path}").status_code == 404


@pytest.mark.parametrize("path", CHANGES)
def test_a_get_changes_nothing(client: Client, make_generation: Make, path: str) -> None:
    assert client.get(f"/generations/{make_generation().pk}/{path}").status_code == 405


def test_a_user_and_a_visitor_do_not_see_each_other(
    client: Client, make_generation: Make, live: ModelVersion
) -> None:
    user = User.objects.create_user("ada", password="a-long-enough-one")
    theirs = make_generation(visitor="", user_id=user.pk)
    signed_in = Client(headers={"accept": "application/json"})
    signed_in.force_login(user)
    assert client.get(theirs.get_absolute_url()).status_code == 404
    assert signed_in.get(theirs.get_absolute_url()).status_code == 200
    assert signed_in.get(make_generation().get_absolute_url()).status_code == 404


def test_the_history_lists_only_the_askers_texts(
    client: Client, stranger: Client, make_generation: Make
) -> None:
    make_generation(prompt="a secret of mine")
    assert b"a secret of mine" in client.get("/history/").content
    assert b"a secret of mine" not in stranger.get("/history/").content


def test_the_desk_is_not_filled_in_with_anothers_text(
    client: Client, stranger: Client, make_generation: Make
) -> None:
    url = f"/?from={make_generation(prompt='a secret of mine').pk}"
    assert b"a secret of mine" in client.get(url).content
    assert b"a secret of mine" not in stranger.get(url).content


def test_anothers_text_as_parent_is_refused(stranger: Client, make_generation: Make) -> None:
    parent = make_generation()
    body: dict[str, Any] = {"prompt": "x", "parent": str(parent.pk)}
    response = stranger.post("/generations/", body, content_type="application/json")
    assert list(response.json()["errors"]) == ["parent"]


def test_an_owner_without_identity_owns_nothing(make_generation: Make) -> None:
    make_generation()
    assert not Generation.objects.owned_by(None).exists()
    assert not Generation.objects.owned_by(Owner()).exists()


def test_a_sign_in_moves_texts_that_share_a_client_key(
    owner: Owner, make_generation: Make, db: None
) -> None:
    user = User.objects.create_user("ada", password="a-long-enough-one")
    make_generation(visitor="", user_id=user.pk, client_key="k")
    mine = make_generation(client_key="k")
    browser = visitor_client(owner.visitor)
    answer = browser.post("/accounts/login/", {"username": "ada", "password": "a-long-enough-one"})
    assert answer.status_code == 302
    mine.refresh_from_db()
    assert mine.user == user


def test_a_sign_in_moves_a_visitors_texts_to_the_user(
    owner: Owner, make_generation: Make, db: None
) -> None:
    mine, other = make_generation(), make_generation(visitor="c" * 32)
    browser = visitor_client(owner.visitor)
    User.objects.create_user("ada", password="a-long-enough-one")
    browser.post("/accounts/login/", {"username": "ada", "password": "a-long-enough-one"})
    mine.refresh_from_db()
    other.refresh_from_db()
    assert mine.user is not None
    assert mine.user.username == "ada"
    assert (mine.visitor, other.user, other.visitor) == ("", None, "c" * 32)


def test_a_visitors_cookie_that_comes_back_after_the_sign_in_still_counts(
    owner: Owner, make_generation: Make, settings: Any
) -> None:
    """A reply that was on its way when the same browser signed in brings it."""
    user = User.objects.create_user("ada", password="a-long-enough-one")
    browser = visitor_client(owner.visitor)
    browser.force_login(user)
    late = make_generation(prompt="sent just before")
    page = browser.get("/history/")
    assert "sent just before" in page.text
    assert page.cookies[settings.VISITOR_COOKIE_NAME]["max-age"] == 0
    late.refresh_from_db()
    assert (late.user, late.visitor) == (user, "")
    assert settings.VISITOR_COOKIE_NAME not in browser.get("/").cookies


def test_a_submit_repeated_after_the_sign_in_is_recognised(
    owner: Owner, make_generation: Make, db: None
) -> None:
    user = User.objects.create_user("ada", password="a-long-enough-one")
    mine = make_generation(client_key="k")
    visitor_client(owner.visitor).post(
        "/accounts/login/", {"username": "ada", "password": "a-long-enough-one"}
    )
    mine.refresh_from_db()
    assert (mine.user, mine.client_key) == (user, "k")
