"""Bad input at the socket, and the answer to each, against the running product.

A client that never reads is in test_slow_clients.py, the limits of submits and sockets in
test_admission.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.abuse import MUST, Abuse
from tests.stack import Stack
from tests.visitor import Visitor, until_closed

# name → origin ({port} is ours) → status before the socket is accepted
ORIGINS: dict[str, tuple[str | None, int]] = {
    "foreign origin": ("http://evil.example", 403),
    "null origin": ("null", 403),
    "missing origin": (None, 403),
    "look-alike origin": ("http://127.0.0.1.evil.example:{port}", 403),
    "look-alike with a user name": ("http://127.0.0.1:{port}@evil.example", 403),
    "another name of this machine": ("http://localhost:{port}", 403),
    "wrong port": ("http://127.0.0.1:1", 403),
    "no port": ("http://127.0.0.1", 403),
    "wrong scheme": ("https://127.0.0.1:{port}", 403),
}

# name → path → status before the socket is accepted
PATHS: dict[str, tuple[str, set[int]]] = {
    "the root": ("/", {403, 404}),
    "the sockets' folder": ("/ws/", {403, 404}),
    "no id": ("/ws/generations/", {403, 404}),
    "another kind": ("/ws/nothing/1/", {403, 404}),
    "a page": ("/history/", {403, 404}),
    "an id that leads elsewhere": ("/ws/generations/..%2f..%2fadmin/", {403, 404}),
    "below a socket": ("/ws/generations/{unknown}/more/", {403, 404}),
}

# name → id ({foreign} is another visitor's, {unknown} nobody's) → close code
IDS: dict[str, tuple[str, int]] = {
    "another owner's id": ("{foreign}", 4404),
    "an unknown id": ("{unknown}", 4404),
    "a malformed id": ("1-or-1=1", 4404),
    "a long id": ("f" * 4_000, 4404),
    "an id with NUL": ("%00", 4404),
}

# name → `after` → the error's code, if any → the offset of the snapshot of 50 characters
OFFSETS: dict[str, tuple[str, str | None, int]] = {
    "negative offset": ("-1", "bad_offset", 0),
    "offset in words": ("many", "bad_offset", 0),
    "offset with a fraction": ("1.5", "bad_offset", 0),
    "offset beyond the end": ("999999999", None, 50),
    "offset beyond any integer": ("9" * 40, "bad_offset", 0),
    "offset with NUL": ("%00", "bad_offset", 0),
    "offset in other digits": ("٣", "bad_offset", 0),
    "empty offset": ("", None, 0),
}

# name → message → code of the error frame; the third closes the socket with 4400
MESSAGES: dict[str, tuple[str | bytes, str]] = {
    "text too large": ("x" * 5_000, "too_large"),
    "binary": (b"\x00\x01", "binary"),
    "empty text": ("", "bad_json"),
    "bad JSON": ("{", "bad_json"),
    "bare list": ("[]", "unknown_type"),
    "NaN": ("NaN", "bad_json"),
    "NaN inside": ('{"type": NaN}', "bad_json"),
    "nested brackets": ("[" * 2_000 + "]" * 2_000, "bad_json"),
    "15,000 nested brackets": ("[" * 15_000 + "]" * 15_000, "too_large"),
    "unknown type": ('{"type": "dance"}', "unknown_type"),
    "a type that is no text": ('{"type": ["cancel"]}', "unknown_type"),
    "duplicate keys": ('{"type": "cancel", "type": "cancel"}', "bad_json"),
    "ack without an offset": ('{"type": "ack"}', "bad_offset"),
    "ack of less than nothing": ('{"type": "ack", "offset": -1}', "bad_offset"),
    "ack of a fraction": ('{"type": "ack", "offset": 1.5}', "bad_offset"),
    "ack of true": ('{"type": "ack", "offset": true}', "bad_offset"),
    "ack beyond any text": ('{"type": "ack", "offset": 1000000000}', "bad_offset"),
    "ack of 4,000 digits": ('{"type": "ack", "offset": ' + "9" * 4_000 + "}", "bad_offset"),
    "a lone surrogate": ('{"type": "\\ud83d"}', "unknown_type"),
}


@pytest.fixture(scope="module")
def abuse(stack: Stack) -> Iterator[Abuse]:
    with Abuse(stack, "sockets") as list_of_cases:
        yield list_of_cases


@pytest.fixture(scope="module")
def owner(stack: Stack) -> Visitor:
    return stack.visitor()


@pytest.fixture(scope="module")
def short(owner: Visitor) -> str:
    """An ended text of the owner."""
    accepted: str = owner.submit(length=50)["id"]
    asyncio.run(owner.frames(accepted))
    return accepted


@pytest.fixture
def long(owner: Visitor) -> Iterator[str]:
    """A running text of the owner, stopped after the test."""
    accepted = owner.submit(length=20_000)
    yield accepted["id"]
    owner.post(f"{accepted['url']}cancel/")


async def refused_with(visitor: Visitor, **options: Any) -> int:
    """Return the HTTP status with which a socket is refused before it is accepted."""
    with pytest.raises(InvalidStatus) as caught:
        async with visitor.socket(**options):
            pass
    return int(caught.value.response.status_code)


@pytest.mark.parametrize("name", ORIGINS)
async def test_a_foreign_origin_is_refused_before_accepting(
    abuse: Abuse, owner: Visitor, short: str, name: str
) -> None:
    origin, status = ORIGINS[name]
    with abuse.case(name):
        sent = origin and origin.format(port=abuse.stack.port)
        assert await refused_with(owner, generation_id=short, origin=sent) == status


@pytest.mark.parametrize("name", PATHS)
async def test_an_unknown_path_is_refused(abuse: Abuse, owner: Visitor, name: str) -> None:
    path, statuses = PATHS[name]
    with abuse.case(name):
        assert (
            await refused_with(owner, generation_id="", path=path.format(unknown=uuid.uuid4()))
            in statuses
        )


async def test_without_a_session_it_closes_4401(abuse: Abuse, short: str) -> None:
    with abuse.case("no session"):
        async with abuse.stack.visitor().socket(short) as socket:
            assert await until_closed(socket) == []
        assert socket.close_code == 4401


@pytest.mark.parametrize("name", IDS)
async def test_a_text_of_somebody_else_closes_4404(
    abuse: Abuse, stranger: Visitor, short: str, name: str
) -> None:
    generation_id, code = IDS[name]
    with abuse.case(name):
        async with stranger.socket(
            generation_id.format(foreign=short, unknown=uuid.uuid4())
        ) as socket:
            assert await until_closed(socket) == []
        assert socket.close_code == code


@pytest.fixture(scope="module")
def stranger(stack: Stack) -> Visitor:
    """A visitor with a text of their own, and so with a cookie."""
    stranger = stack.visitor()
    stranger.submit(length=5)
    return stranger


@pytest.mark.parametrize("name", OFFSETS)
async def test_a_bad_offset_is_answered_or_reset(
    abuse: Abuse, owner: Visitor, short: str, name: str
) -> None:
    after, code, offset = OFFSETS[name]
    with abuse.case(name):
        async with owner.socket(short, after=after) as socket:
            frames = [json.loads(await socket.recv())]
            while frames[-1]["type"] != "end":
                frames.append(json.loads(await socket.recv()))
    errors = [frame["code"] for frame in frames if frame["type"] == "error"]
    snapshot = next(frame for frame in frames if frame["type"] == "snapshot")
    assert errors == ([code] if code else [])
    assert (snapshot["offset"], len(snapshot["text"])) == (offset, 50 - offset)
    assert (frames[-1]["type"], frames[-1]["length"]) == ("end", 50)


@pytest.mark.parametrize("name", MESSAGES)
async def test_a_bad_message_is_an_error_and_the_third_closes_4400(
    abuse: Abuse, owner: Visitor, long: str, name: str
) -> None:
    message, code = MESSAGES[name]
    with abuse.case(name):
        async with owner.socket(long) as socket:
            await socket.recv()
            for _ in range(3):
                await socket.send(message)
            answers = await until_closed(socket)
        assert [answer["code"] for answer in answers if answer["type"] == "error"] == [code] * 3
        assert socket.close_code == 4400


async def test_a_thousand_messages_close_4429_and_another_stream_goes_on(
    abuse: Abuse, owner: Visitor, long: str
) -> None:
    other = abuse.stack.visitor()
    watched = other.submit(length=20_000, seed=1)["id"]
    with abuse.case("1,000 messages a second"):
        watching = asyncio.create_task(timed_frames(other, watched))
        async with owner.socket(long) as socket:
            with suppress(ConnectionClosed):  # it may close while we still talk
                for _ in range(1_000):
                    await socket.send('{"type": "cancel"}')
            await until_closed(socket)
        assert socket.close_code == 4429
    text, end, stall = await watching
    print(f"\nlongest time without a character beside the flood: {stall * 1000:.0f} ms")
    assert (end["state"], len(text)) == ("done", 20_000)
    assert hashlib.sha256(text.encode()).hexdigest() == end["sha256"]
    assert stall <= MUST


async def timed_frames(visitor: Visitor, generation_id: str) -> tuple[str, dict[str, Any], float]:
    """Return a socket's text, its end frame, and the longest wait for a character in seconds."""
    text, stall, last = "", 0.0, time.monotonic()
    async with visitor.socket(generation_id) as socket:
        async for message in socket:
            frame = json.loads(message)
            if frame["type"] == "end":
                return text, frame, stall
            if frame["type"] in {"snapshot", "chars"}:
                assert frame["offset"] == len(text)
                text += frame["text"]
                stall, last = max(stall, time.monotonic() - last), time.monotonic()
    raise AssertionError(f"the socket closed with {socket.close_code} before the end")
