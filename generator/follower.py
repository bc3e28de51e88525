"""Follows one generation for one socket: sends what continues its offset, drops what it sent, fetches what is missing.

The channel layer is at-most-once, so live frames only hasten what the log in Redis holds, and the log only what the row
will hold. A follower asks the log, then the row, whenever live frames skip an offset or stay away for a second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

from channels.db import database_sync_to_async
from django.db import DatabaseError
from redis.exceptions import RedisError

from generator import events, selectors, stream_log
from generator.events import CharsFrame, Frame
from generator.models import Generation, Owner

logger = logging.getLogger(__name__)
PIECE = 4_000  # characters in a frame; daphne bounds the size of messages in both directions
ALIVE_EVERY = 5.0  # seconds
QUIET = 1.0  # seconds without a live frame after which the log and the row are asked


class Follower:
    """`position` is the offset up to which the socket has everything."""

    def __init__(self, generation_id: UUID, owner: Owner, send: Callable[[Frame], Awaitable[None]]) -> None:
        self._id = generation_id
        self._owner = owner
        self._send = send
        self._cursor = stream_log.Cursor()
        self._lock = asyncio.Lock()  # live frames and the quiet check both advance the position
        self._heard = self._said = time.monotonic()
        self.position = 0
        self.ended = False
        self.gone = False

    async def start(self, after: int) -> None:
        """Send the snapshot. Call it after joining the group, so that nothing falls between the two."""
        async with self._lock:
            generation = await self._load()
            if generation is None:
                return
            text = generation.text
            for frame in await self._log():
                if frame["offset"] <= len(text):
                    text = text[: frame["offset"]] + frame["text"] + text[frame["offset"] + len(frame["text"]) :]
            self.position = min(after, len(text))
            first = text[self.position : self.position + PIECE]
            await self._send(
                {
                    "type": "snapshot",
                    "id": str(generation.pk),
                    "offset": self.position,
                    "text": first,
                    "state": generation.state,
                    "length": generation.length,
                    "unknown_characters": generation.unknown_characters,
                    "queue_position": await database_sync_to_async(selectors.queue_position)(generation),
                }
            )
            self.position += len(first)
            await self._send_text(text)
            await self._end_if_ended(generation)

    async def live(self, message: events.FrameMessage) -> None:
        """Forward a live frame; a gap before it is filled first."""
        async with self._lock:
            self._heard = time.monotonic()
            if message["frame"]["offset"] > self.position:
                await self._fill()
            await self._forward(message["frame"])
            self._cursor.advance(message["attempt"], message["frame"]["offset"])

    async def catch_up(self) -> None:
        """Read log and row now, and end when the row has ended."""
        async with self._lock:
            await self._fill()

    async def check(self) -> None:
        """Do what a quiet second calls for: catch up, and tell the client that the server is there."""
        now = time.monotonic()
        if now - self._heard >= QUIET and not self.ended:
            await self.catch_up()
        if now - max(self._heard, self._said) >= ALIVE_EVERY and not self.ended:
            self._said = now
            if generation := await self._load():
                position = await database_sync_to_async(selectors.queue_position)(generation)
                await self._send({"type": "alive", "state": generation.state, "queue_position": position})

    async def _fill(self) -> None:
        for frame in await self._log():
            await self._forward(frame)
        if generation := await self._load():
            await self._send_text(generation.text)
            await self._end_if_ended(generation)

    async def _forward(self, frame: CharsFrame) -> None:
        """Send the part of a frame that continues the position. Text is deterministic, so overlaps are equal."""
        known = self.position - frame["offset"]
        if self.ended or known < 0 or known >= len(frame["text"]):
            return
        if known:
            frame = {**frame, "offset": self.position, "text": frame["text"][known:], "surprisal": frame["surprisal"][known:]}
        self.position += len(frame["text"])
        await self._send(frame)

    async def _send_text(self, text: str) -> None:
        while self.position < len(text):
            piece = text[self.position : self.position + PIECE]
            await self._forward({"type": "chars", "offset": self.position, "text": piece, "surprisal": []})

    async def _end_if_ended(self, generation: Generation) -> None:
        if generation.has_ended and not self.ended:
            self.ended = True
            await self._send(events.end_frame(generation))

    async def _log(self) -> list[CharsFrame]:
        """Return new frames of the log; none when Redis is away, for then the row has to do."""
        try:
            return await stream_log.read(stream_log.shared_client(), self._id, self._cursor)
        except (RedisError, OSError) as error:
            logger.warning("generation %s: the log cannot be read: %s", self._id, error)
            return []

    async def _load(self) -> Generation | None:
        try:
            generation: Generation | None = await database_sync_to_async(selectors.generation_of)(self._owner, self._id)
        except DatabaseError as error:  # busy or restarting; the next check tries again
            logger.warning("generation %s: the row cannot be read: %s", self._id, error)
            return None
        self.gone = generation is None
        return generation
