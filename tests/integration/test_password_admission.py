"""Limits on signing in and signing up, and how many passwords are hashed at a time."""

from __future__ import annotations

import os
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from tests.integration.admission import Make, assert_sound
from tests.stack import Stack


def test_failed_sign_ins_are_limited_for_each_address(make_stack: Make) -> None:
    stack = make_stack("redis", "web", ADDRESS_SIGN_INS_PER_MINUTE="4", TRUSTED_PROXIES="1")
    right = {"username": "reader", "password": "a-long-enough-one"}
    wrong = {"username": "reader", "password": "another-one"}
    stack.visitor().post(
        "/accounts/signup/",
        {"username": "reader"} | dict.fromkeys(("password1", "password2"), right["password"]),
    )

    def sign_in(fields: dict[str, str], address: str, path: str = "/accounts/login/") -> str:
        answer = stack.visitor().post(
            path, fields, headers={"X-Forwarded-For": address}, allow_redirects=False
        )
        if answer.status_code == 302:
            return "in"
        return "wait" if "Try again in" in answer.text else "wrong"

    guesser, other = "203.0.113.9", "203.0.113.10"
    assert [sign_in(wrong, guesser) for _ in range(3)] == ["wrong"] * 3
    assert sign_in(wrong, guesser, "/admin/login/") == "wrong"  # both forms share a limit
    assert [sign_in(fields, guesser) for fields in (wrong, right)] == ["wait"] * 2
    refused = stack.visitor().post("/accounts/login/", wrong, headers={"X-Forwarded-For": guesser})
    assert (refused.status_code, 0 < int(refused.headers["Retry-After"]) <= 60) == (429, True)
    assert sign_in(right, guesser, "/admin/login/") == "wait"
    assert [sign_in(right, other) for _ in range(6)] == [
        "in"
    ] * 6  # a correct password does not count
    assert_sound(stack)


def sign_up(stack: Stack, address: str, name: str = "", again: str = "") -> requests.Response:
    """Sign up from an address, as a new visitor."""
    password = "a-long-enough-one"
    fields = {
        "username": name or f"u{uuid.uuid4().hex[:8]}",
        "password1": password,
        "password2": again or password,
    }
    return stack.visitor().post(
        "/accounts/signup/", fields, headers={"X-Forwarded-For": address}, allow_redirects=False
    )


def test_sign_ups_are_limited_for_each_address(make_stack: Make) -> None:
    stack = make_stack("redis", "web", ADDRESS_SIGN_UPS_PER_MINUTE="3", TRUSTED_PROXIES="1")
    eager, other = "203.0.113.9", "203.0.113.10"
    for _ in range(4):  # no password is hashed, so it does not count
        assert sign_up(stack, eager, again="not the same").status_code == 400
    assert sign_up(stack, eager, "first").status_code == 302
    assert sign_up(stack, eager).status_code == 302
    # A second click signs in. It hashes a password, so it counts.
    assert sign_up(stack, eager, "first").status_code == 302
    refused = sign_up(stack, eager, "late")
    assert (refused.status_code, 0 < int(refused.headers["Retry-After"]) <= 60) == (429, True)
    assert re.search(
        r'role="alert"[^>]*>[^<]*from your network[^<]* Try again in \d+ second', refused.text
    )
    assert 'value="late"' in refused.text
    assert sign_up(stack, other, "late").status_code == 302
    assert [row["n"] for row in stack.rows("SELECT COUNT(*) AS n FROM auth_user")] == [3]
    assert_sound(stack)


def test_one_password_is_hashed_at_a_time_and_pages_stay_available(make_stack: Make) -> None:
    stack = make_stack("redis", "web", TRUSTED_PROXIES="1")
    visitors = [stack.visitor() for _ in range(40)]
    for visitor in visitors:
        visitor.get("/")

    def guess(number: int) -> requests.Response:
        headers = {"X-Forwarded-For": f"203.0.113.{number}"}
        return visitors[number].post(
            "/accounts/login/", {"username": "nobody", "password": "guess"}, headers=headers
        )

    begun, burnt = time.monotonic(), cpu(stack.pid("web"))
    with ThreadPoolExecutor(len(visitors)) as threads:
        guesses = [threads.submit(guess, number) for number in range(len(visitors))]
        pages = [stack.visitor().get("/") for _ in range(5)]
        answers = [guess.result() for guess in guesses]
    share = (cpu(stack.pid("web")) - burnt) / (time.monotonic() - begun)
    slowest = max(page.elapsed.total_seconds() for page in pages)
    print(
        f"\n{len(answers)} sign-ins at once used {share:.2f} cores;",
        f"the slowest page meanwhile took {slowest:.2f} s",
    )
    assert [page.status_code for page in pages] == [200] * 5
    hashed = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(hashed) + len(refused) == len(answers)
    assert min(len(hashed), len(refused)) > 5
    assert all("correct username and password" in answer.text for answer in hashed)
    assert all(
        int(answer.headers["Retry-After"]) > 0 and "Try again in" in answer.text
        for answer in refused
    )
    assert_sound(stack)


def cpu(pid: int) -> float:
    """Return the seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
