"""Every form sent twice: at once, when the browser drops the first answer, or in turn."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.stack import EVERYTHING, Stack
from tests.visitor import Visitor

PASSWORD = "a-long-enough-one"
VERSIONS = "/admin/generator/modelversion/"
STAFF = f"""
from django.contrib.auth.models import User
User.objects.create_superuser("staff", password={PASSWORD!r})
"""
Fields = dict[str, Any]
Answer = requests.Response


@pytest.fixture(scope="module")
def stack(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A separate copy of the product, because the live version changes."""
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("clicks") / "var"))
    with Stack(folder) as running:
        running.start(*(name for name in EVERYTHING if name != "worker"))  # texts stay queued
        running.manage("shell", "-c", STAFF)
        yield running


def form(visitor: Visitor, page: str, action: str = "", **typed: Any) -> Fields:
    """Return the fields of the page's form for `action`, with its values or those `typed`."""
    html = visitor.get(page).text
    name = f'action="{action}"' if action else r"(?!.*action=)"
    (block,) = re.findall(
        rf'<form (?=[^>]*method="post")(?:[^>]*{name}[^>]*)>(.*?)</form>', html, re.DOTALL
    )[:1]
    inputs = [
        dict(re.findall(r'(\w+)="([^"]*)"', tag))
        for tag in re.findall(r"<(?:input|button) [^>]*>", block)
    ]
    return {tag["name"]: unescape(tag.get("value", "")) for tag in inputs if "name" in tag} | typed


def send(visitor: Visitor, path: str, fields: Fields) -> Answer:
    """Send a form as a browser without scripts does, and follow redirects."""
    headers = {"Origin": visitor.base_url, "Accept": "text/html"}
    return visitor.http.post(visitor.base_url + path, fields, headers=headers, timeout=60)


def at_once(visitor: Visitor, path: str, fields: Fields) -> Answer:
    """Send a form twice at once; the browser gets only the second answer and its cookies."""
    first, second = visitor.twin(), visitor.twin()
    with ThreadPoolExecutor(2) as threads:
        lost, answer = threads.map(lambda who: send(who, path, fields), (first, second))
    assert lost.status_code == 200, lost.text
    visitor.http.cookies = second.http.cookies
    return answer


def in_turn(visitor: Visitor, path: str, fields: Fields) -> Answer:
    """Send a form, then the same form again with the cookies of the first answer."""
    assert send(visitor, path, fields).status_code == 200
    return send(visitor, path, fields)


@pytest.fixture(params=[at_once, in_turn], ids=["at once", "in turn"])
def click_twice(request: pytest.FixtureRequest) -> Callable[[Visitor, str, Fields], Answer]:
    twice: Callable[[Visitor, str, Fields], Answer] = request.param
    return twice


Twice = Callable[[Visitor, str, Fields], Answer]


def texts(visitor: Visitor) -> list[str]:
    """Return the ids of the visitor's texts, newest first."""
    return re.findall(r'data-row="([^"]+)"', visitor.get("/history/").text)


def account(stack: Stack) -> str:
    """Create an account and return its name."""
    name, visitor = f"u{uuid.uuid4().hex[:8]}", stack.visitor()
    send(
        visitor,
        "/accounts/signup/",
        form(visitor, "/accounts/signup/", username=name, password1=PASSWORD, password2=PASSWORD),
    )
    return name


def test_sign_up(stack: Stack, click_twice: Twice) -> None:
    visitor, name = stack.visitor(), f"u{uuid.uuid4().hex[:8]}"
    mine = visitor.submit()["id"]
    fields = form(
        visitor, "/accounts/signup/", username=name, password1=PASSWORD, password2=PASSWORD
    )
    answer = click_twice(visitor, "/accounts/signup/", fields)
    assert (answer.status_code, f"Signed in as <b><bdi>{name}" in answer.text) == (200, True)
    assert stack.rows("SELECT COUNT(*) AS n FROM auth_user WHERE username = ?", name) == [{"n": 1}]
    assert texts(visitor) == [mine]


def test_sign_up_under_anothers_name(stack: Stack) -> None:
    """Another visitor gets an error at the name's field and is not signed in."""
    name = f"u{uuid.uuid4().hex[:8]}"
    answers = []
    for password in (PASSWORD, "another-long-one"):
        other = stack.visitor()
        fields = form(
            other, "/accounts/signup/", username=name, password1=password, password2=password
        )
        answers.append(send(other, "/accounts/signup/", fields))
    assert [answer.status_code for answer in answers] == [200, 400]
    assert re.search(r'id="id_username_error">[^<]*already exists', answers[1].text)
    assert stack.rows("SELECT COUNT(*) AS n FROM auth_user WHERE username = ?", name) == [{"n": 1}]


def test_sign_in(stack: Stack, click_twice: Twice) -> None:
    name, visitor = account(stack), stack.visitor()
    mine = visitor.submit()["id"]
    fields = form(visitor, "/accounts/login/", username=name, password=PASSWORD)
    answer = click_twice(visitor, "/accounts/login/", fields)
    assert (answer.status_code, f"Signed in as <b><bdi>{name}" in answer.text) == (200, True)
    assert texts(visitor) == [mine]


def test_sign_out(stack: Stack, click_twice: Twice) -> None:
    visitor, name = stack.visitor(), account(stack)
    send(
        visitor,
        "/accounts/login/",
        form(visitor, "/accounts/login/", username=name, password=PASSWORD),
    )
    answer = click_twice(visitor, "/accounts/logout/", form(visitor, "/", "/accounts/logout/"))
    assert (answer.status_code, "Signed in as" in answer.text, ">Sign in<" in answer.text) == (
        200,
        False,
        True,
    )


def test_submit(stack: Stack, click_twice: Twice) -> None:
    visitor = stack.visitor()
    fields = form(visitor, "/", "/generations/", prompt="Once", length=50, temperature=0.7)
    answer = click_twice(visitor, "/generations/", fields)
    (only,) = texts(visitor)
    assert answer.url.endswith(f"/generations/{only}/")


@pytest.mark.parametrize("page", ["/history/", "its own"])
@pytest.mark.parametrize("seed", ["new", "same"])
def test_again(stack: Stack, click_twice: Twice, page: str, seed: str) -> None:
    visitor = stack.visitor()
    url = visitor.submit()["url"]
    fields = form(visitor, url if page == "its own" else page, f"{url}again/", seed=seed)
    answer = click_twice(visitor, f"{url}again/", fields)
    made, _ = texts(visitor)
    assert answer.url.endswith(f"/generations/{made}/")


def test_cancel(stack: Stack, click_twice: Twice) -> None:
    visitor = stack.visitor()
    url = visitor.submit()["url"]
    answer = click_twice(visitor, f"{url}cancel/", form(visitor, url, f"{url}cancel/"))
    assert (answer.status_code, answer.url, "Stopped after 0 characters" in answer.text) == (
        200,
        stack.base_url + url,
        True,
    )


@pytest.mark.parametrize("page", ["/history/", "its own"])
def test_delete(stack: Stack, click_twice: Twice, page: str) -> None:
    visitor = stack.visitor()
    url, kept = visitor.submit()["url"], visitor.submit()["id"]
    fields = form(visitor, url if page == "its own" else page, f"{url}delete/")
    answer = click_twice(visitor, f"{url}delete/", fields)
    assert (answer.status_code, answer.url) == (200, f"{stack.base_url}/history/")
    assert (
        "That text is no longer in your history." in answer.text
        or "The text was deleted." in answer.text
    )
    assert texts(visitor) == [kept]


def test_delete_what_is_anothers(stack: Stack) -> None:
    """The answer is that of a text that does not exist, and nothing is deleted."""
    visitor, stranger = stack.visitor(), stack.visitor()
    mine = visitor.submit()
    answers = [
        send(stranger, f"/generations/{one}/delete/", form(stranger, "/", "/generations/"))
        for one in (mine["id"], uuid.uuid4())
    ]
    assert [(answer.status_code, answer.url) for answer in answers] == [
        (200, f"{stack.base_url}/history/")
    ] * 2
    assert ["That text is no longer in your history." in answer.text for answer in answers] == [
        True
    ] * 2
    assert texts(visitor) == [mine["id"]]


def test_sign_in_to_the_admin_make_live_and_sign_out(stack: Stack, click_twice: Twice) -> None:
    staff = stack.visitor()
    fields = form(
        staff, "/admin/login/?next=/admin/", username="staff", password=PASSWORD, next="/admin/"
    )
    answer = click_twice(staff, "/admin/login/", fields)
    assert (answer.status_code, "Site administration" in answer.text) == (200, True)

    (target,) = stack.rows(
        "SELECT id, version FROM generator_modelversion WHERE NOT is_live LIMIT 1"
    )
    known = len(stack.rows("SELECT id FROM generator_promotion"))
    fields = form(staff, "/", "/accounts/logout/") | {
        "action": "make_live",
        "_selected_action": target["id"],
    }
    answer = click_twice(staff, VERSIONS, fields)
    assert re.search(rf"Version {target['version']} is live", answer.text)
    assert "Another switch" not in answer.text
    (entry,) = stack.rows(
        "SELECT outcome, to_version_id AS version FROM generator_promotion ORDER BY id"
    )[known:]
    assert entry == {"outcome": "done", "version": target["id"]}

    answer = click_twice(staff, "/admin/logout/", form(staff, "/admin/", "/admin/logout/"))
    assert (answer.status_code, "Signed in as" in staff.get("/").text) == (200, False)
