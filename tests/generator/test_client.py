"""What a client may say: how much of it, and how much that means nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from generator.events import CloseCode, Frame
from generator.sockets.client import ERRORS_ALLOWED, Client
from generator.sockets.follower import Follower
from generator.sockets.watch import End, Watch
from tests.generator.memory import TEXT, Memory


class Open:
    """An `Access` that is never lost."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    async def lost(self) -> End | None:
        return None

    async def why_gone(self) -> End:
        return End.GONE

    async def cancel(self) -> None:
        self.cancelled.set()


class Socket:
    """A client, the watch it talks to, and the frames it was sent."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        memory = Memory(TEXT)
        assert memory.generation
        self.access = Open()
        self.follower = Follower(memory.generation.pk, memory, self.send)
        self.watch = Watch(self.follower, self.access, None)
        self.client = Client(self.send)

    async def send(self, frame: Frame) -> None:
        self.frames.append(frame)

    @property
    def errors(self) -> list[str]:
        return [frame["code"] for frame in self.frames if frame["type"] == "error"]


async def test_acks_and_cancels_reach_the_watch() -> None:
    socket = Socket()
    running = asyncio.create_task(socket.watch.run())
    listening = asyncio.create_task(socket.client.listen(socket.watch))
    socket.client.say('{"type": "ack", "offset": 7}')
    socket.client.say('{"type": "cancel"}')
    async with asyncio.timeout(5):
        await socket.access.cancelled.wait()
    assert socket.follower.confirmed == 7
    for task in (running, listening):
        task.cancel()
    await asyncio.wait([running, listening])


async def test_each_error_is_answered_and_the_third_is_the_last() -> None:
    socket = Socket()
    for text in ("{", None, '{"type": "ack", "offset": 7}', "[]", "{"):
        socket.client.say(text)
    assert await socket.client.listen(socket.watch) is CloseCode.BAD_MESSAGES
    assert socket.errors == ["bad_json", "binary", "unknown_type"]
    assert socket.follower.confirmed == 7


async def test_a_bad_offset_in_the_address_counts_as_an_error_and_means_0() -> None:
    socket = Socket()
    assert await socket.client.offset(b"after=12") == 12
    assert await socket.client.offset(b"after=x") == 0
    for _ in range(ERRORS_ALLOWED):
        socket.client.say("{")
    assert await socket.client.listen(socket.watch) is CloseCode.BAD_MESSAGES
    assert socket.errors == ["bad_offset", "bad_json", "bad_json"]


async def test_too_many_messages_end_it(settings: Any) -> None:
    settings.SOCKET_MAX_MESSAGES_PER_SECOND = 20
    socket = Socket()
    for _ in range(3 * 20):  # in whichever second each is read, one second has more than 20
        socket.client.say('{"type": "ack", "offset": 1}')
    assert await socket.client.listen(socket.watch) is CloseCode.TOO_MANY
    assert socket.errors == []
