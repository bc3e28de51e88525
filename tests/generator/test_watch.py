"""Why a watch ends, and what it does until then, with everything it asks in memory."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from generator.events import Frame, SocketMessage
from generator.sockets import watch
from generator.sockets.follower import Follower
from generator.sockets.watch import End, Watch, first_of
from tests.generator.memory import TEXT, Memory, live


class Rights:
    """An `Access` that is lost when the test says so."""

    def __init__(self) -> None:
        self.end: End | None = None
        self.cancels = 0
        self.cancelled = asyncio.Event()

    async def lost(self) -> End | None:
        return self.end

    async def why_gone(self) -> End:
        return End.GONE

    async def cancel(self) -> None:
        self.cancels += 1
        self.cancelled.set()


class Messages(asyncio.Queue[SocketMessage]):
    async def receive(self) -> SocketMessage:
        return await self.get()


class Watched:
    """A watch of a text of which ten characters are written."""

    def __init__(self) -> None:
        self.memory = Memory(TEXT[:10])
        self.access = Rights()
        self.messages = Messages()
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        assert self.memory.generation
        self.client_left = False
        self.follower = Follower(self.memory.generation.pk, self.memory, self.send)
        self.watch = Watch(self.follower, self.access, self.messages)

    async def send(self, frame: Frame) -> None:
        if self.client_left:
            raise ConnectionResetError
        self.frames.put_nowait(frame)

    async def run(self) -> End:
        assert self.memory.generation
        await self.follower.start(0, self.memory.generation, None)
        return await self.watch.run()

    async def next(self) -> Frame:
        return await self.frames.get()


async def test_it_forwards_frames_and_ends_once_the_client_has_all_of_an_ended_text() -> None:
    watched = Watched()
    running = asyncio.create_task(watched.run())
    assert (await watched.next())["type"] == "snapshot"
    watched.messages.put_nowait(live(10, 15))
    assert (await watched.next())["type"] == "chars"
    assert watched.memory.generation
    watched.memory.generation.text, watched.memory.generation.state = TEXT[:15], "done"
    watched.messages.put_nowait({"type": "generation.changed"})
    assert (await watched.next())["type"] == "end"
    watched.watch.confirm(10)
    watched.watch.confirm(15)
    assert await running is End.ENDED


async def test_a_deleted_text_ends_it() -> None:
    watched = Watched()
    running = asyncio.create_task(watched.run())
    await watched.next()
    watched.memory.generation = None
    watched.messages.put_nowait({"type": "generation.changed"})
    assert await running is End.GONE


async def test_a_change_of_the_owner_makes_it_look_who_that_is() -> None:
    watched = Watched()
    running = asyncio.create_task(watched.run())
    await watched.next()
    watched.messages.put_nowait({"type": "owner.changed"})
    watched.messages.put_nowait(live(10, 15))
    assert (await watched.next())["type"] == "chars"  # nothing has changed for this one
    watched.access.end = End.SIGNED_OUT
    watched.messages.put_nowait({"type": "owner.changed"})
    assert await running is End.SIGNED_OUT


async def test_a_cancel_said_often_is_one_and_only_the_owner_may_say_it() -> None:
    watched = Watched()
    running = asyncio.create_task(watched.run())
    await watched.next()
    for _ in range(3):
        watched.watch.cancel()
    await watched.access.cancelled.wait()
    watched.messages.put_nowait(live(10, 15))
    await watched.next()
    assert watched.access.cancels == 1
    running.cancel()
    await asyncio.wait([running])

    other = Watched()
    other.access.end = End.SIGNED_OUT
    other.watch.cancel()
    assert await other.run() is End.SIGNED_OUT
    assert other.access.cancels == 0


async def test_a_client_that_left_ends_it_with_what_sending_raises() -> None:
    watched = Watched()
    running = asyncio.create_task(watched.run())
    await watched.next()
    watched.client_left = True
    watched.messages.put_nowait(live(10, 15))
    with pytest.raises(ConnectionResetError):
        await running


async def test_of_several_parts_the_first_ends_the_others_and_waits_for_their_cleaning_up() -> None:
    begun, may_end, cleaned = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def quick() -> str:
        await begun.wait()
        return "quick"

    async def slow() -> str:
        begun.set()
        try:
            return str(await asyncio.Event().wait())
        finally:
            await may_end.wait()
            cleaned.set()

    running = asyncio.create_task(first_of(quick(), slow()))
    await begun.wait()
    asyncio.get_running_loop().call_soon(may_end.set)
    assert await running == "quick"
    assert cleaned.is_set()


async def test_a_part_that_loses_a_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "CANCEL_AGAIN", 0.001)
    begun = asyncio.Event()

    async def quick() -> str:
        await begun.wait()
        return "quick"

    async def deaf() -> str:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return str(await asyncio.Event().wait())

    async with asyncio.timeout(5):
        assert await first_of(quick(), deaf()) == "quick"
