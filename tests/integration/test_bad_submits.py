"""Bad input to the submit, each with its answer, against the running product.

tests/e2e/test_bad_prompts.py tests that a browser shows markup and template syntax as text.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from django.conf import settings
from django.utils.html import escape

from ml.vocabulary import Vocabulary
from tests.integration.abuse import Abuse
from tests.stack import Stack, wait_until
from tests.visitor import Visitor

GOOD: dict[str, Any] = {"prompt": "It was", "length": 20, "temperature": 0.7}
JSON = {"Content-Type": "application/json", "Accept": "application/json"}
PAGE = {"Accept": "application/json"}  # the page's form; its errors are easier to read as JSON

# Name → field → value. Each is refused with 400 and a message at that field.
FIELDS: dict[str, tuple[str, Any]] = {
    "prompt one over the limit": ("prompt", "x" * 2_001),
    "prompt with NUL": ("prompt", "one\0two"),
    "prompt with a lone surrogate": ("prompt", "half a pair \ud83d"),
    "prompt that grows when read": (
        "prompt",
        "\ufdfa" * 2_000,
    ),  # a ligature that NFKC turns into eighteen letters
    "prompt null": ("prompt", None),
    "prompt a number": ("prompt", 5),
    "prompt a list": ("prompt", ["a"]),
    "temperature −1": ("temperature", -1),
    "temperature 1e308": ("temperature", 1e308),
    "temperature beyond a float": ("temperature", 10**400),
    "temperature NaN": ("temperature", float("nan")),
    "temperature infinite": ("temperature", float("inf")),
    "temperature true": ("temperature", True),
    'temperature "1"': ("temperature", "1"),
    "temperature null": ("temperature", None),
    "temperature an object": ("temperature", {}),
    "top_k 0": ("top_k", 0),
    "top_k above the vocabulary": ("top_k", 257),
    "top_k with a fraction": ("top_k", 1.5),
    "top_k true": ("top_k", True),
    "top_p 0": ("top_p", 0),
    "top_p 1.0001": ("top_p", 1.0001),
    "top_p negative": ("top_p", -0.5),
    "top_p beyond a float": ("top_p", 10**400),
    "top_p as text": ("top_p", "0.5"),
    "length 0": ("length", 0),
    "length −1": ("length", -1),
    "length 1.5": ("length", 1.5),
    "length 1e9": ("length", 1e9),
    "length 1000000000": ("length", 10**9),
    "length true": ("length", True),
    "length null": ("length", None),
    "seed −1": ("seed", -1),
    "seed 2^64": ("seed", 2**64),
    "seed 1.5": ("seed", 1.5),
    "seed true": ("seed", True),
    "seed a word": ("seed", "many"),
    "17 stop strings": ("stop", [f"stop {number}" for number in range(17)]),
    "a stop string too long": ("stop", ["x" * 41]),
    "a stop string that is a number": ("stop", [1]),
    "a stop string that is a list": ("stop", [["a"]]),
    "a stop string with a lone surrogate": ("stop", ["\ud83d"]),
    "a stop string with NUL": ("stop", ["a\0b"]),
    "a stop string the model never sees": ("stop", ["\ufeff"]),
    "stop strings as text": ("stop", "text"),
    "unknown model version": ("version", 99),
    "model version −1": ("version", -1),
    "model version in words": ("version", "latest"),
    "unknown parent": ("parent", "7b1c5b0e-5bd3-44a5-9a5e-0f3ad7a1f0a1"),
    "malformed parent": ("parent", "not an id"),
    "client key too long": ("client_key", "k" * 65),
    "client key a number": ("client_key", 1),
    "client key with a lone surrogate": ("client_key", "\ud800"),
}

# The same through the page's form, where every value is text: name → field → value.
FORM_FIELDS: dict[str, tuple[str, str]] = {
    "form: prompt one over the limit": ("prompt", "x" * 2_001),
    "form: prompt with NUL": ("prompt", "\0"),
    "form: temperature nan": ("temperature", "nan"),
    "form: temperature 1e308": ("temperature", "1e308"),
    "form: top_p inf": ("top_p", "inf"),
    "form: length 1e9": ("length", "1e9"),
    "form: seed 2^64": ("seed", str(2**64)),
    "form: 17 stop strings": ("stop", "\n".join(map(str, range(17)))),
    "form: unknown model version": ("version", "99"),
    "form: malformed parent": ("parent", "../../etc/passwd"),
}

# Name → body. Each is refused with 400 and a message.
BODIES: dict[str, bytes] = {
    "no JSON": b" ",
    "half of JSON": b"{",
    "bare list": b"[]",
    "null": b"null",
    "bare text": b'"x"',
    "100,000 nested brackets": b"[" * 100_000,
    "a bare NaN": b'{"temperature": NaN, "length": Infinity}',
    "no UTF-8": b"\xff\xfe",
    "something after the object": b"{}x",
    "unknown parameter": b'{"temprature": 0.5}',
    "more than 256 KiB": b" " * 300_000,
}

# Name → method, path, headers, status.
REQUESTS: dict[str, tuple[str, str, dict[str, str], int]] = {
    "no CSRF token": ("POST", "/generations/", {}, 403),
    "made-up CSRF token": ("POST", "/generations/", {"X-CSRFToken": "x" * 64}, 403),
    "CSRF token from another site": (
        "POST",
        "/generations/",
        {"X-CSRFToken": "{token}", "Origin": "http://evil.example"},
        403,
    ),
    "GET": ("GET", "/generations/", {}, 405),
    "HEAD": ("HEAD", "/generations/", {}, 405),
    "PUT": ("PUT", "/generations/", {"X-CSRFToken": "{token}"}, 405),
    "PATCH": ("PATCH", "/generations/", {"X-CSRFToken": "{token}"}, 405),
    "DELETE": ("DELETE", "/generations/", {"X-CSRFToken": "{token}"}, 405),
    "wrong Host": ("POST", "/generations/", {"Host": "evil.example"}, 400),
    "Host with a user name": ("GET", "/", {"Host": "127.0.0.1@evil.example"}, 400),
    "no such page": ("POST", "/generations/no-id/cancel/", {"X-CSRFToken": "{token}"}, 404),
}

# Name → prompt. Each is accepted, kept exactly and continued; the page names unknown characters.
PROMPTS: dict[str, str] = {
    "empty prompt": "",
    "white space": "  \n ",
    "exactly the limit": "x" * 2_000,
    "unknown characters": "Snow ☃ and ♞ fell",
    "combining flood": "a" + "\u0301" * 1_999,
    "markup": "<script>alert(1)</script>",
    "template syntax": "{{ 7*7 }}{% debug %}",
}
LIVE = settings.BUNDLED_MODELS_DIR / "3-final" / "model.json"


@pytest.fixture(scope="module")
def abuse(stack: Stack) -> Iterator[Abuse]:
    with Abuse(stack, "submits") as list_of_cases:
        yield list_of_cases


@pytest.fixture(scope="module")
def visitor(stack: Stack) -> Visitor:
    visitor = stack.visitor()
    visitor.get("/")
    return visitor


def refused_at(answer: requests.Response, field: str) -> None:
    """Assert that the answer is 400 with a message at this field and no other."""
    assert answer.status_code == 400, answer.text[:300]
    errors = answer.json()["errors"]
    assert list(errors) == [field]
    assert all(message.endswith(".") for message in errors[field]), errors


@pytest.mark.parametrize("name", FIELDS)
def test_a_bad_field_is_refused_at_the_field(abuse: Abuse, visitor: Visitor, name: str) -> None:
    field, value = FIELDS[name]
    with abuse.case(name):
        refused_at(
            visitor.post("/generations/", json.dumps({**GOOD, field: value}), headers=JSON), field
        )


@pytest.mark.parametrize("name", FORM_FIELDS)
def test_a_bad_field_of_the_form_is_refused_at_the_field(
    abuse: Abuse, visitor: Visitor, name: str
) -> None:
    field, value = FORM_FIELDS[name]
    with abuse.case(name):
        refused_at(visitor.post("/generations/", {**GOOD, field: value}, headers=PAGE), field)


def test_a_foreign_parent_is_refused_at_the_field(abuse: Abuse, visitor: Visitor) -> None:
    foreign = abuse.stack.visitor().submit(length=5)["id"]
    with abuse.case("foreign parent"):
        refused_at(
            visitor.post("/generations/", json.dumps({**GOOD, "parent": foreign}), headers=JSON),
            "parent",
        )


@pytest.mark.parametrize("name", BODIES)
def test_a_bad_body_is_refused(abuse: Abuse, visitor: Visitor, name: str) -> None:
    with abuse.case(name):
        answer = visitor.post("/generations/", BODIES[name], headers=JSON)
        assert answer.status_code == 400
        assert answer.json()["errors"]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_bad_request_is_refused(abuse: Abuse, visitor: Visitor, name: str) -> None:
    method, path, headers, status = REQUESTS[name]
    token = visitor.token
    sent = {key: value.format(token=token) for key, value in headers.items()}
    with abuse.case(name):
        answer = visitor.http.request(
            method, visitor.base_url + path, data=GOOD, headers={**PAGE, **sent}, timeout=30
        )
        assert answer.status_code == status


@pytest.mark.parametrize("name", PROMPTS)
def test_an_odd_prompt_is_kept_and_continued(abuse: Abuse, visitor: Visitor, name: str) -> None:
    prompt = PROMPTS[name]
    unknown = Vocabulary(json.loads(LIVE.read_text())["vocabulary"]).unknown_characters(prompt)
    with abuse.case(name, stores=1):
        answer = visitor.post("/generations/", json.dumps({**GOOD, "prompt": prompt}), headers=JSON)
    assert answer.status_code == 201
    row = ended(visitor, answer.json()["url"])
    assert (row["prompt"], row["state"], len(row["text"])) == (prompt, "done", 20)
    assert row["unknown_characters"] == unknown
    page = visitor.get(answer.json()["url"]).text
    assert escape(prompt) in page
    assert ("data-unknown>" in page) == bool(unknown)  # else the notice is hidden


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1])
def test_every_64_bit_seed_is_kept_and_shown_exactly(
    abuse: Abuse, visitor: Visitor, seed: int
) -> None:
    with abuse.case(f"seed {seed}", stores=1):
        answer = visitor.post("/generations/", json.dumps({**GOOD, "seed": seed}), headers=JSON)
    assert (answer.status_code, answer.json()["seed"]) == (201, str(seed))
    assert ended(visitor, answer.json()["url"])["seed"] == str(seed)
    assert re.search(rf"(?i)seed\W+(<[^>]+>\s*)*{seed}\b", visitor.get(answer.json()["url"]).text)


def ended(visitor: Visitor, url: str) -> dict[str, Any]:
    """Return the row of a generation once it has ended."""

    def look() -> dict[str, Any] | None:
        row: dict[str, Any] = visitor.get(f"{url}export.json").json()
        return row if row["state"] in {"done", "failed"} else None

    row: dict[str, Any] = wait_until(look, f"{url} ends", 20)
    return row


def test_200_parallel_submits_and_a_full_queue(make_stack: Callable[..., Stack]) -> None:
    """No worker runs at first, so accepted texts stay queued; then a worker writes all of them."""
    stack = make_stack("redis", "web", OWNER_MAX_ACTIVE="4", QUEUE_MAX_LENGTH="6")
    eager, other, late = (stack.visitor() for _ in range(3))
    accepted = [eager.submit(length=100)]  # from now on there is a session
    cookies = eager.http.cookies.get_dict()

    def submit(number: int) -> requests.Response:
        visitor = stack.visitor()
        visitor.http.cookies.update(cookies)
        return visitor.ask(**{**GOOD, "length": 100}, client_key=uuid.uuid4().hex)

    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(submit, range(200)))
    slowest = max(answer.elapsed.total_seconds() for answer in answers)
    statuses = Counter(answer.status_code for answer in answers)
    print(f"\n200 parallel submits: {statuses}, slowest {slowest * 1000:.0f} ms")
    assert statuses == {201: 3, 429: 197}
    assert all(
        int(answer.headers["Retry-After"]) > 0 for answer in answers if answer.status_code == 429
    )
    accepted += [answer.json() for answer in answers if answer.status_code == 201]

    accepted_of_other = [other.submit(length=100) for _ in range(2)]
    refused = late.ask(**GOOD)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.json()["errors"]["__all__"]
    assert len(stack.rows("SELECT id FROM generator_generation")) == 6
    assert "Traceback" not in stack.logs("web", 2_000)

    stack.start("worker", "housekeeping", "beat")
    for owner, rows in ((eager, accepted), (other, accepted_of_other)):
        for row in rows:
            assert len(ended(owner, row["url"])["text"]) == 100
    assert len(ended(late, late.submit(length=100)["url"])["text"]) == 100
