"""Requests without permission, and malformed ones, that try to switch the live model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.abuse import Abuse
from tests.stack import EVERYTHING, Stack, wait_until
from tests.visitor import Visitor

LIST = "/admin/generator/modelversion/"
PASSWORD = "a-long-enough-one"
PEOPLE = f"""
from django.contrib.auth.models import Permission, User
permission = lambda name: Permission.objects.get(codename=name)
people = {{
    "user": dict(), "user with the permission": dict(permissions=["promote_modelversion"]),
    "staff": dict(is_staff=True),
    "staff who may look": dict(is_staff=True, permissions=["view_modelversion"]),
    "one": dict(is_staff=True, is_superuser=True), "two": dict(is_staff=True, is_superuser=True),
}}
for name, fields in people.items():
    names = fields.pop("permissions", [])
    user = User.objects.create_user(name.replace(" ", "-"), password={PASSWORD!r}, **fields)
    user.user_permissions.set(map(permission, names))
"""

# Who tries → whom the ledger names. All are answered 403 and recorded as refused.
REFUSED: dict[str, str | None] = {
    "visitor": None,
    "user": "user",
    "user with the permission": "user-with-the-permission",
    "staff": "staff",
    "staff who may look": "staff-who-may-look",
}

# Name → who, method, fields, status. None is recorded in the ledger.
REQUESTS: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "GET as visitor": ("visitor", "GET", {}, 405),
    "GET as staff": ("staff", "GET", {}, 405),
    "GET with the permission": ("one", "GET", {}, 405),
    "HEAD with the permission": ("one", "HEAD", {}, 405),
    "wrong CSRF token": ("one", "POST", {"csrfmiddlewaretoken": "x" * 64}, 403),
    "no version, without the permission": ("staff", "POST", {"_selected_action": ""}, 403),
    "a version that is no number, without the permission": (
        "staff",
        "POST",
        {"_selected_action": "1 OR 1=1"},
        403,
    ),
    "hidden behind another action": (
        "staff",
        "POST",
        {"action": ["x", "make_live"], "index": 1, "_selected_action": ""},
        403,
    ),
}


@pytest.fixture(scope="module")
def stack(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A separate copy of the product, because the live version changes."""
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("admin") / "var"))
    with Stack(folder) as running:
        running.start(*EVERYTHING)
        running.manage("shell", "-c", PEOPLE)
        yield running


@pytest.fixture(scope="module")
def abuse(stack: Stack) -> Iterator[Abuse]:
    with Abuse(stack, "admin") as list_of_cases:
        yield list_of_cases


@pytest.fixture(scope="module")
def people(stack: Stack) -> dict[str, Visitor]:
    """Every visitor by name, signed in where possible."""
    everybody = {"visitor": stack.visitor()}
    everybody["visitor"].get("/")
    for name in (*(name for name in REFUSED if name != "visitor"), "one", "two"):
        everybody[name] = stack.visitor()
        answer = everybody[name].post(
            "/accounts/login/", {"username": name.replace(" ", "-"), "password": PASSWORD}
        )
        assert answer.ok
        assert any(cookie.name.startswith("session") for cookie in everybody[name].http.cookies)
    return everybody


def not_live(stack: Stack) -> list[int]:
    return [
        row["id"]
        for row in stack.rows("SELECT id FROM generator_modelversion WHERE NOT is_live ORDER BY id")
    ]


def live(stack: Stack) -> int:
    return int(stack.rows("SELECT id FROM generator_modelversion WHERE is_live")[0]["id"])


def ledger(stack: Stack) -> list[dict[str, Any]]:
    query = (
        "SELECT p.id, to_version_id, outcome, evidence, username FROM generator_promotion p "
        "LEFT JOIN auth_user u ON u.id = p.requested_by_id ORDER BY p.id"
    )
    return stack.rows(query)


def make_live(who: Visitor, version: int) -> Any:
    return who.post(
        LIST, {"action": "make_live", "_selected_action": version}, allow_redirects=False
    )


@pytest.mark.parametrize("name", REFUSED)
def test_a_switch_without_permission_is_refused_and_recorded_in_the_ledger(
    abuse: Abuse, people: dict[str, Visitor], name: str
) -> None:
    before, known = live(abuse.stack), len(ledger(abuse.stack))
    (target, _) = not_live(abuse.stack)
    with abuse.case(f"switch as {name}"):
        assert make_live(people[name], target).status_code == 403
        assert make_live(people[name], target).status_code == 403
    (entry,) = ledger(abuse.stack)[known:]  # the second attempt within the minute adds nothing
    assert (entry["to_version_id"], entry["outcome"], entry["username"]) == (
        target,
        "refused",
        REFUSED[name],
    )
    assert entry["evidence"]
    assert live(abuse.stack) == before


@pytest.mark.parametrize("name", REQUESTS)
def test_a_bad_request_switches_nothing(
    abuse: Abuse, people: dict[str, Visitor], name: str
) -> None:
    who, method, changes, status = REQUESTS[name]
    before, known = live(abuse.stack), ledger(abuse.stack)
    fields = {"action": "make_live", "_selected_action": not_live(abuse.stack)[0], **changes}
    fields["csrfmiddlewaretoken"] = changes.get("csrfmiddlewaretoken", people[who].token)
    with abuse.case(name):
        parts = {
            "data" if method == "POST" else "params": fields,
            "allow_redirects": False,
            "timeout": 30,
        }
        answer = people[who].http.request(method, abuse.stack.base_url + LIST, **parts)
        assert answer.status_code == status
    assert ledger(abuse.stack) == known
    assert live(abuse.stack) == before


def test_of_two_at_once_one_wins_and_the_other_sees_a_conflict(
    abuse: Abuse, people: dict[str, Visitor]
) -> None:
    known = len(ledger(abuse.stack))
    targets = not_live(abuse.stack)

    def switch(who: str, target: int) -> str:
        return people[who].post(LIST, {"action": "make_live", "_selected_action": target}).text

    with ThreadPoolExecutor(2) as threads:
        pages = list(threads.map(switch, ("one", "two"), targets))
    wait_until(
        lambda: ledger(abuse.stack)[-1]["outcome"] != "requested", "housekeeping answers", 60
    )
    (entry,) = ledger(abuse.stack)[known:]
    winner = ("one", "two").index(entry["username"])
    assert (entry["outcome"], entry["to_version_id"]) == ("done", targets[winner])
    assert live(abuse.stack) == targets[winner]
    assert "Another switch is under way" not in pages[winner]
    assert "Another switch is under way" in pages[1 - winner]
