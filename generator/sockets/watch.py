"""Watches one generation until there is a reason to stop, whatever carries the frames."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Coroutine
from enum import Enum, auto
from typing import Any, Protocol, TypeVar

from django.db import DatabaseError

from generator import events
from generator.database import passing
from generator.sockets.follower import QUIET, Follower

T = TypeVar("T")
logger = logging.getLogger(__name__)
CANCEL_AGAIN = 1.0  # seconds
ACCESS_CHECK_EVERY = 30.0  # seconds; a watch outlives a sign-out


class End(Enum):
    """Why a watch ends."""

    ENDED = auto()  # the text has ended; the client has all of it, or has stopped confirming
    STALLED = auto()  # the client has confirmed nothing for too long
    SIGNED_OUT = auto()  # the owner is somebody else by now, or the text is
    GONE = auto()  # there is no such text any more
    BUSY = auto()  # the text is gone, and the database cannot say why


class Messages(Protocol):
    """Where the messages of the channel layer come from."""

    async def receive(self) -> events.SocketMessage:
        """Return the next message."""


class Access(Protocol):
    """What the owner may still do."""

    async def lost(self) -> End | None:
        """Return why the text may no longer be watched; None while it may. Raises DatabaseError."""

    async def why_gone(self) -> End:
        """Return what became of a text that the owner no longer has."""

    async def cancel(self) -> None:
        """Stop the generation. Raises DatabaseError."""


class Watch:
    """Brings a follower what it waits for: messages, a tick each second, what the client says.

    Without Redis there are no messages, and the tick alone has to do. What the follower's `send`
    raises because the client has left ends the watch.
    """

    def __init__(self, follower: Follower, access: Access, messages: Messages | None) -> None:
        self._id = follower.generation_id
        self._follower = follower
        self._access = access
        self._messages = messages
        self._confirmed = asyncio.Event()
        self._cancelled = asyncio.Event()

    def confirm(self, offset: int) -> None:
        """Note that the client has everything up to `offset`."""
        self._follower.confirm(offset)
        self._confirmed.set()

    def cancel(self) -> None:
        """Have the generation stopped. Saying so again changes nothing."""
        self._cancelled.set()

    async def run(self) -> End:
        """Follow the generation, after the snapshot, and return why that ended."""
        parts = [self._tick(), self._go_on_when_confirmed(), self._cancel_when_told()]
        if self._messages:
            parts.append(self._hear(self._messages))
        return await first_of(*parts)

    async def _hear(self, messages: Messages) -> End:
        while True:
            message = await messages.receive()
            if message["type"] == "generation.frame":
                await self._follower.live(message)
                continue
            if message["type"] == "generation.changed":
                await self._follower.changed()
                end = await self._over()
            else:
                end = await self._lost()
            if end:
                return end

    async def _tick(self) -> End:
        """At once and then every second, look for gaps, say that we are alive and check access."""
        checked = time.monotonic() - random.uniform(
            0, ACCESS_CHECK_EVERY
        )  # spread over the sockets
        while True:
            try:
                if time.monotonic() - checked >= ACCESS_CHECK_EVERY:
                    checked = time.monotonic()
                    if end := await self._lost():
                        return end
                await self._follower.check()
                if end := await self._over():
                    return end
            except DatabaseError as error:  # `Follower` and `_lost` wait for one that is away
                logger.exception(
                    "generation %s: the quiet check failed; it is tried again: %s", self._id, error
                )
            await asyncio.sleep(QUIET)

    async def _go_on_when_confirmed(self) -> End:
        while True:
            await self._confirmed.wait()
            self._confirmed.clear()
            await self._follower.go_on()
            if end := await self._over():
                return end

    async def _cancel_when_told(self) -> End:
        """Stop the generation once; while the database is away, try again every second."""
        await self._cancelled.wait()
        while True:
            try:
                if end := await self._access.lost():
                    return end
                await asyncio.shield(self._access.cancel())  # also if the client leaves now
                break
            except DatabaseError as error:
                if not passing(error):
                    raise
                logger.warning("generation %s: the cancel is tried again: %s", self._id, error)
                await asyncio.sleep(QUIET)
        end_by_another_part: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        return await end_by_another_part

    async def _over(self) -> End | None:
        if self._follower.gone:
            return await self._access.why_gone()
        if self._follower.delivered or self._follower.stalled:
            return End.ENDED if self._follower.ended else End.STALLED
        return None

    async def _lost(self) -> End | None:
        """Return why access is lost; None also while the database cannot say."""
        try:
            return await self._access.lost()
        except DatabaseError as error:
            if not passing(error):
                raise
            logger.warning("generation %s: its owner cannot be read now: %s", self._id, error)
            return None


async def first_of(*parts: Coroutine[Any, Any, T]) -> T:
    """Run parts side by side; return or raise what the first to end does, and cancel the others.

    Waits until the others have ended, and cancels them again every second: a cancellation can be
    lost in `asyncio.wait_for` before Python 3.12, which redis-py uses. What a part does at its end
    should therefore be shielded.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        left = set(tasks)
        while left:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # seen, so that asyncio does not report it
