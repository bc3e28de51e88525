"""Bad input at the socket: the stated answer, nothing shown to others, and a good request works right after."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.stack import Stack, Visitor


@pytest.fixture
def visitor(stack: Stack) -> Visitor:
    return stack.visitor()


@pytest.fixture
def generation_id(visitor: Visitor) -> str:
    accepted: str = visitor.submit(length=50)["id"]
    return accepted


async def close_code(visitor: Visitor, generation_id: str) -> int | None:
    async with visitor.socket(generation_id) as socket:
        await until_closed(socket)
    return socket.close_code


async def until_closed(socket: ClientConnection) -> list[dict[str, Any]]:
    """Return what still comes before the server closes."""
    received: list[dict[str, Any]] = []
    async with asyncio.timeout(15):
        with suppress(ConnectionClosed):
            async for message in socket:
                received.append(json.loads(message))  # noqa: PERF401 (what came before the close counts)
    return received


@pytest.mark.parametrize("look", ["foreign", "null", "missing", "lookalike", "wrong port", "wrong scheme"])
async def test_a_foreign_origin_is_refused_before_accepting(
    stack: Stack, visitor: Visitor, generation_id: str, look: str
) -> None:
    origins = {
        "foreign": "http://evil.example",
        "null": "null",
        "missing": None,
        "lookalike": f"http://127.0.0.1.evil.example:{stack.port}",
        "wrong port": f"http://127.0.0.1:{stack.port + 1}",
        "wrong scheme": f"https://127.0.0.1:{stack.port}",
    }
    with pytest.raises(InvalidStatus) as caught:
        async with visitor.socket(generation_id, origin=origins[look]):
            pass
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize("path", ["/ws/", "/ws/generations/", "/ws/nothing/1/", "/"])
async def test_an_unknown_path_is_refused(visitor: Visitor, path: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with visitor.socket("", path=path):
            pass
    assert caught.value.response.status_code in {403, 404}


async def test_without_a_session_it_closes_4401(stack: Stack, generation_id: str) -> None:
    assert await close_code(stack.visitor(), generation_id) == 4401


@pytest.mark.parametrize("which", ["foreign", "unknown", "malformed"])
async def test_what_is_not_yours_closes_4404(stack: Stack, generation_id: str, which: str) -> None:
    stranger = stack.visitor()
    stranger.submit(length=5)
    ids = {"foreign": generation_id, "unknown": str(uuid.uuid4()), "malformed": "1-or-1=1"}
    assert await close_code(stranger, ids[which]) == 4404


@pytest.mark.parametrize("after", ["-1", "many", "1.5", "9" * 40, "%00", "٣"])
async def test_a_bad_offset_is_answered_and_read_as_zero(visitor: Visitor, generation_id: str, after: str) -> None:
    async with visitor.socket(generation_id, after=after) as socket:
        error, snapshot = json.loads(await socket.recv()), json.loads(await socket.recv())
    assert (error["type"], error["code"]) == ("error", "bad_offset")
    assert (snapshot["type"], snapshot["offset"]) == ("snapshot", 0)


BAD: list[str | bytes] = [
    "x" * 5000,
    b"\x00\x01",
    "{",
    "[]",
    "NaN",
    "[" * 1500,
    '{"type": "dance"}',
    '{"type": "cancel", "type": "cancel"}',
    "[" * 15_000 + "]" * 15_000,
]


@pytest.mark.parametrize("message", BAD)
async def test_a_bad_message_is_an_error_frame_and_the_third_closes_4400(make_waiting: Any, message: str | bytes) -> None:
    visitor, generation_id = make_waiting
    async with visitor.socket(generation_id) as socket:
        await socket.recv()
        for _ in range(3):
            await socket.send(message)
        answers = await until_closed(socket)
    assert sum(answer["type"] == "error" for answer in answers) == 3
    assert socket.close_code == 4400


async def test_a_flood_of_messages_closes_4429_and_disturbs_nobody(stack: Stack, make_waiting: Any) -> None:
    visitor, generation_id = make_waiting
    async with visitor.socket(generation_id) as socket:
        with suppress(ConnectionClosed):  # it may close while we still talk
            for _ in range(1000):
                await socket.send('{"type": "cancel"}')
        await socket.wait_closed()
    assert socket.close_code == 4429
    other = stack.visitor()
    assert (await other.frames(other.submit(length=30)["id"]))[-1]["state"] == "done"


async def test_a_sign_out_ends_what_an_open_socket_may_do(stack: Stack) -> None:
    user = stack.visitor()
    fields = {"username": f"u{uuid.uuid4().hex[:8]}", "password1": "a-long-enough-one", "password2": "a-long-enough-one"}
    user.post("/accounts/signup/", fields)
    generation_id = user.submit(length=20_000)["id"]
    async with user.socket(generation_id) as socket:
        await socket.recv()
        await asyncio.to_thread(lambda: user.post("/accounts/logout/"))
        await socket.send('{"type": "cancel"}')
        await until_closed(socket)
    assert socket.close_code == 4401


@pytest.fixture
def make_waiting(stack: Stack, visitor: Visitor) -> Any:
    """A visitor and a long generation, which is stopped after the test so that it holds up nobody."""
    accepted = visitor.submit(length=20_000)
    yield visitor, accepted["id"]
    visitor.post(f"{accepted['url']}cancel/")
