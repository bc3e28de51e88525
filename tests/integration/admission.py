"""Many submits at once, and what every refusal must say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import requests

from tests.stack import Stack
from tests.visitor import Visitor

Make = Callable[..., Stack]
AT_ONCE = 200


def ask(visitor: Visitor, **headers: str) -> requests.Response:
    """Submit over a separate connection, as another tab of the same browser does."""
    token = {"X-CSRFToken": visitor.token, "Origin": visitor.base_url, "Accept": "application/json"}
    with requests.Session() as http:
        http.trust_env = False
        return http.post(
            f"{visitor.base_url}/generations/",
            {"prompt": "It was", "length": 50},
            headers={**token, **headers},
            cookies=visitor.http.cookies.get_dict(),
            timeout=60,
        )


def ask_at_once(visitors: list[Visitor], times: int) -> list[requests.Response]:
    """Submit `times` times for each of the visitors, all at once."""
    for visitor in visitors:
        visitor.get("/")  # sets the CSRF token
    with ThreadPoolExecutor(times * len(visitors)) as threads:
        return list(threads.map(ask, visitors * times))


def known(stack: Stack) -> Visitor:
    """Return a visitor of whom one text was accepted."""
    visitor = stack.visitor()
    visitor.submit(length=1)
    return visitor


def counted(answers: list[requests.Response]) -> dict[int, int]:
    """Return the number of answers by status; each refusal must say when to try again."""
    for answer in answers:
        if answer.status_code != 201:
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert answer.json()["errors"]["__all__"][0].endswith(".")
    return dict(Counter(answer.status_code for answer in answers))


def assert_sound(stack: Stack) -> None:
    """Assert that the web process runs, logged no traceback and serves a page."""
    assert "Traceback" not in stack.logs("web", 100_000)
    assert stack.visitor().get("/").status_code == 200
    assert stack.is_running("web")
