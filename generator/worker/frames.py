"""Publishes the new characters of all texts at intervals, in one round trip to Redis.

What this costs depends on the number of frames, not of characters, and the engine never waits for
it. While Redis is away frames are dropped: the rows carry the texts, and sockets follow the rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Any, Protocol
from uuid import UUID

from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from generator.events import CharsFrame, FrameMessage, group_name
from generator.redis_store import stream_log
from generator.worker.writing import Key, Writing

logger = logging.getLogger(__name__)
INTERVAL = 0.025  # seconds between frames of a stream when few are active
INTERVAL_PER_STREAM = 0.0012  # added for each stream; about 100 ms for 64
FIRST_INTERVAL = 0.004  # while a stream has shown nothing yet: somebody looks at an empty page
SEND_TIMEOUT = 2.0
AWAY = (RedisError, OSError)  # TimeoutError is an OSError


class Outlet(Protocol):
    """Where frames and messages go. Its methods raise RedisError or OSError while it is away."""

    async def append(self, frames: Sequence[tuple[UUID, int, CharsFrame]]) -> list[bool]:
        """Append frames (generation, attempt, frame) to their logs, in one go.

        Returns for each whether it was taken: False when a later attempt has written already.
        """

    async def send(self, messages: Sequence[tuple[str, Any]]) -> None:
        """Send messages to their groups, in this order."""

    async def expire_soon(self, generation_id: UUID) -> None:
        """Remove the log of an ended generation in a while."""


class RedisOutlet:
    """Stream logs and the channel layer."""

    async def append(self, frames: Sequence[tuple[UUID, int, CharsFrame]]) -> list[bool]:
        return await stream_log.append_all(frames)

    async def send(self, messages: Sequence[tuple[str, Any]]) -> None:
        """Send one after the other: the layer has one connection, tasks would only queue for it."""
        layer = get_channel_layer()
        async with asyncio.timeout(SEND_TIMEOUT):
            for group, message in messages:
                await layer.group_send(group, message)

    async def expire_soon(self, generation_id: UUID) -> None:
        await stream_log.expire_soon(generation_id)


class Outage:
    """Logs an outage of Redis once, not forty times a second."""

    def __init__(self) -> None:
        self._away = False

    def begins(self, error: Exception) -> None:
        if not self._away:
            logger.warning("Redis is away, texts go to their rows only: %s", error)
        self._away = True

    def ends(self) -> None:
        self._away = False


class Pace:
    """Decides when frames leave: those of all streams at intervals, the first of each earlier.

    Moments are in seconds, by any clock that does not go back.
    """

    def __init__(self) -> None:
        self._all_due_at = 0.0

    def pause(self, now: float, writings: Collection[Writing]) -> float:
        """Return how many seconds to wait before asking who is due."""
        if any(not writing.frames for writing in writings):
            return FIRST_INTERVAL
        return max(0.0, self._all_due_at - now)

    def due(self, now: float, writings: Collection[Writing]) -> list[Writing]:
        """Return whose characters leave now."""
        if now < self._all_due_at:
            return [writing for writing in writings if not writing.frames]
        self._all_due_at = now + INTERVAL + INTERVAL_PER_STREAM * len(writings)
        return list(writings)


class Frames:
    """Publishes what the streams of its writings make. Everything here runs in one event loop."""

    def __init__(self, outlet: Outlet, outage: Outage) -> None:
        self._outlet = outlet
        self._outage = outage
        self._active: dict[Key, Writing] = {}
        self._pace = Pace()
        self._some_active = asyncio.Event()
        self._lock = asyncio.Lock()

    def add(self, writing: Writing) -> None:
        """Publish what this writing's stream makes from now on."""
        self._active[writing.key] = writing
        self._some_active.set()

    async def finish(self, writing: Writing) -> None:
        """Publish the rest of a finished stream, and forget it."""
        self._active.pop(writing.key, None)
        await self.publish([writing])

    async def run(self) -> None:
        """Publish without end, as `Pace` says."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._some_active.wait()
            await asyncio.sleep(self._pace.pause(clock(), self._active.values()))
            try:
                await self.publish(self._pace.due(clock(), self._active.values()))
            except Exception:
                logger.exception("publishing failed; the rows carry the texts")
            if not self._active:
                self._some_active.clear()

    async def publish(self, writings: Sequence[Writing]) -> None:
        """Append the new characters of some writings to their logs, and send them to sockets.

        A writing whose frame is refused is stopped: a later attempt writes this generation.
        """
        async with self._lock:  # frames of one stream leave in order
            pairs = [(writing, frame) for writing in writings if (frame := writing.next_frame())]
            if not pairs:
                return
            entries = [(writing.generation_id, writing.attempt, frame) for writing, frame in pairs]
            try:
                taken = await self._outlet.append(entries)
            except AWAY as error:
                self._outage.begins(error)
                return
            messages: list[tuple[str, FrameMessage]] = []
            for (writing, frame), was_taken in zip(pairs, taken, strict=True):
                if was_taken:
                    messages.append((group_name(writing.generation_id), _message(writing, frame)))
                else:
                    writing.stream.cancel()
            await self.send(messages)

    async def send(self, messages: Sequence[tuple[str, Any]]) -> None:
        """Send messages to their groups. While Redis is away they are lost."""
        try:
            await self._outlet.send(messages)
        except AWAY as error:
            self._outage.begins(error)
        else:
            self._outage.ends()

    async def expire_soon(self, generation_id: UUID) -> None:
        """Remove the log of an ended generation once those who read it have had time to end."""
        await self._outlet.expire_soon(generation_id)


def _message(writing: Writing, frame: CharsFrame) -> FrameMessage:
    return {"type": "generation.frame", "attempt": writing.attempt, "frame": frame}
