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

from django.db import DatabaseError
from redis.exceptions import RedisError

from generator import events, selectors, stream_log
from generator.events import CharsFrame, Frame
from generator.models import Generation, Owner
from generator.rows import in_thread

logger = logging.getLogger(__name__)
PIECE = 4_000  # characters in a frame; daphne bounds the size of messages in both directions
ALIVE_EVERY = 5.0  # seconds
FILL_PAUSE = 0.2  # seconds between looks at log and row while a gap stays
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
        self._filled = 0.0
        self._log_away = False
        self.position = 0
        self.ended = False
        self.gone = False

    async def start(self, after: int) -> None:
        """Send the snapshot. Call it after joining the group, so that nothing falls between the two."""
        async with self._lock:
            generation = await self._load()
            if generation is None:
                return
            text = await self._text_so_far(generation)
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
                    "queue_position": await in_thread(selectors.queue_position)(generation),
                }
            )
            self.position += len(first)
            await self._send_text(text)
            await self._end_if_ended(generation)

    async def live(self, message: events.FrameMessage) -> None:
        """Forward a live frame; a gap before it is filled first."""
        async with self._lock:
            self._heard = time.monotonic()
            gap = message["frame"]["offset"] > self.position
            if gap and self._heard - self._filled >= FILL_PAUSE:
                await self._fill()
            await self._join((message["attempt"], message["frame"]))

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
                position = await in_thread(selectors.queue_position)(generation)
                await self._send({"type": "alive", "state": generation.state, "queue_position": position})

    async def _text_so_far(self, generation: Generation) -> str:
        """Return the row's text and what the log has beyond it."""
        text = generation.text
        for attempt, frame in [] if generation.has_ended else await self._log():
            if frame["offset"] > len(text):
                break
            text += frame["text"][len(text) - frame["offset"] :]
            self._cursor.advance(attempt, frame["offset"])
        return text

    async def _fill(self) -> None:
        """Read on in the log; what it does not have comes from the row, and then the log may go on again."""
        self._filled = time.monotonic()
        await self._forward_log()
        if generation := await self._load():
            before = self.position
            await self._send_text(generation.text)
            if self.position > before:
                await self._forward_log()
            await self._end_if_ended(generation)

    async def _forward_log(self) -> None:
        for entry in await self._log():
            if not await self._join(entry):
                break

    async def _join(self, entry: stream_log.Entry) -> bool:
        """Forward an entry unless there is a gap before it; only then does the cursor move, so that it is read again."""
        attempt, frame = entry
        if frame["offset"] > self.position:
            return False
        await self._forward(frame)
        self._cursor.advance(attempt, frame["offset"])
        return True

    async def _forward(self, frame: CharsFrame) -> None:
        """Send the part of a frame that continues the position. Text is deterministic, so overlaps are equal."""
        known = self.position - frame["offset"]
        if self.ended or known >= len(frame["text"]):
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

    async def _log(self) -> list[stream_log.Entry]:
        """Return the log's entries after the cursor; none when Redis is away, for then the row has to do."""
        try:
            entries = await stream_log.read(stream_log.shared_client(), self._id, self._cursor)
        except (RedisError, OSError) as error:
            if not self._log_away:
                logger.warning("generation %s: the log cannot be read: %s", self._id, error)
            self._log_away = True
            return []
        self._log_away = False
        return entries

    async def _load(self) -> Generation | None:
        try:
            generation = await in_thread(selectors.generation_of)(self._owner, self._id)
        except DatabaseError as error:  # busy or restarting; the next check tries again
            logger.warning("generation %s: the row cannot be read: %s", self._id, error)
            return None
        self.gone = generation is None
        return generation
