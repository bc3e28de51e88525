"""Follows one generation for one socket: sends what continues its offset, drops what it sent, fetches what is missing.

The channel layer is at-most-once, so live frames only hasten what the log in Redis holds, and the
log only what the row will hold. A follower asks the log, then the row, whenever live frames skip an
offset or stay away for a second.

What was sent and not confirmed is bounded, since nothing else stops the server from buffering for a
client that does not read. Beyond the bound nothing is sent and nothing kept: live frames are
dropped, and read again once there is room.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError
from redis.exceptions import RedisError

from generator import events, selectors
from generator.database import passing
from generator.events import CharsFrame, Frame
from generator.models import Generation, Owner
from generator.redis_store import clients, stream_log
from generator.threads import Batched

logger = logging.getLogger(__name__)
PIECE = 4_000  # characters in a frame; daphne bounds the size of messages in both directions
ALIVE_EVERY = 5.0  # seconds
FILL_PAUSE = 0.2  # seconds between looks at log and row while a gap stays
QUIET = 1.0  # seconds without a live frame after which the log and the row are asked
ENTRIES = 100  # of the log read at once

_rows = Batched(selectors.watched_rows)


class Follower:
    """`position` is the offset up to which everything was sent, `confirmed` the one up to which the client says it came."""

    def __init__(
        self, generation_id: UUID, owner: Owner, send: Callable[[Frame], Awaitable[None]]
    ) -> None:
        self._id = generation_id
        self._owner = owner
        self._send = send
        self._cursor = stream_log.Cursor()
        self._lock = asyncio.Lock()  # live frames and the quiet check both advance the position
        self._heard = -math.inf  # of live frames; the first check looks whether some were sent before the group was joined
        self._said = time.monotonic()
        self._filled = 0.0
        self._log_away = False
        self._room_at = time.monotonic()  # when there was room, or some was made
        self.position = self.confirmed = 0
        self.ended = False
        self.gone = False

    @property
    def full(self) -> bool:
        """Tell whether the client must confirm something before it gets more."""
        return self.position - self.confirmed >= settings.SOCKET_WINDOW

    @property
    def delivered(self) -> bool:
        """Tell whether the text has ended and the client has all of it; one that was closed sooner would lose the rest."""
        return self.ended and self.confirmed >= self.position

    @property
    def stalled(self) -> bool:
        """Tell whether the client has confirmed nothing for too long, although it was its turn."""
        return (
            self.full or self.ended
        ) and time.monotonic() - self._room_at >= settings.SOCKET_STALLED

    async def start(self, after: int, generation: Generation, place: int | None) -> None:
        """Send the snapshot of a row, and of what the log has beyond it."""
        async with self._lock:
            text = await self._text_so_far(generation)
            self.position = self.confirmed = min(after, len(text))
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
                    "queue_position": place,
                    "note": generation.note,
                }
            )
            self.position += len(first)
            await self._send_text(text)
            if self.position < len(text):
                self._cursor = stream_log.Cursor()  # what did not fit is read again
            await self._end_if_ended(generation)

    async def confirm(self, offset: int) -> None:
        """Note that the client has everything up to `offset`, and go on if that makes room.

        A client that came back may have more than was sent this time: the log was lost, and the row
        is a second behind.
        """
        was_full = self.full
        self._room_at = time.monotonic()
        self.confirmed = max(self.confirmed, offset)
        if was_full and not self.full:
            await self.catch_up()

    async def live(self, message: events.FrameMessage) -> None:
        """Forward a live frame; a gap before it is filled first."""
        async with self._lock:
            self._heard = time.monotonic()
            if self.full:
                return
            gap = message["frame"]["offset"] > self.position
            if gap and self._heard - self._filled >= FILL_PAUSE:
                await self._fill()
            await self._join((message["attempt"], message["frame"]))

    async def catch_up(self) -> None:
        """Read log and row now, and end when the row has ended."""
        async with self._lock:
            if not self.ended:
                await self._fill()

    async def check(self) -> None:
        """Do what a quiet second calls for: catch up, and tell the client that the server is there."""
        now = time.monotonic()
        if self.ended:
            return
        if not self.full:
            self._room_at = now
            if now - self._heard >= QUIET:
                await self.catch_up()
        if now - max(self._heard, self._said) >= ALIVE_EVERY:
            await self._say_state()

    async def changed(self) -> None:
        """Read what a change of the row's state brought, and tell the client the state: its text may have to wait again."""
        await self.catch_up()
        await self._say_state()

    async def _say_state(self) -> None:
        self._said = time.monotonic()
        if not self.ended and (found := await self._load()):
            generation, place = found
            await self._send(
                {
                    "type": "alive",
                    "state": generation.state,
                    "queue_position": place,
                    "note": generation.note,
                }
            )

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
        if found := await self._load():
            generation, _ = found
            before = self.position
            await self._send_text(generation.text)
            if self.position > before:
                await self._forward_log()
            await self._end_if_ended(generation)

    async def _forward_log(self) -> None:
        while entries := await self._log(ENTRIES):
            for entry in entries:
                if not await self._join(entry):
                    return

    async def _join(self, entry: stream_log.Entry) -> bool:
        """Forward an entry, unless there is a gap before it or no room; then the cursor stays, so that it is read again."""
        attempt, frame = entry
        if frame["offset"] > self.position or self.full:
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
            frame = {
                **frame,
                "offset": self.position,
                "text": frame["text"][known:],
                "surprisal": frame["surprisal"][known:],
            }
        self.position += len(frame["text"])
        await self._send(frame)

    async def _send_text(self, text: str) -> None:
        while self.position < len(text) and not self.full:
            piece = text[self.position : self.position + PIECE]
            await self._forward(
                {"type": "chars", "offset": self.position, "text": piece, "surprisal": []}
            )

    async def _end_if_ended(self, generation: Generation) -> None:
        if generation.has_ended and not self.ended and self.position >= len(generation.text):
            self.ended = True
            await self._send(events.end_frame(generation))

    async def _log(self, count: int | None = None) -> list[stream_log.Entry]:
        """Return the log's entries after the cursor; none when Redis is away, for then the row has to do."""
        try:
            entries = await stream_log.read(clients.shared_client(), self._id, self._cursor, count)
        except (RedisError, OSError) as error:
            if not self._log_away:
                logger.warning("generation %s: the log cannot be read: %s", self._id, error)
            self._log_away = True
            return []
        self._log_away = False
        return entries

    async def _load(self) -> tuple[Generation, int | None] | None:
        """Return the row and its place in the queue; None when it is gone, or cannot be read now."""
        try:
            found = await _rows.get((self._owner, self._id))
        except DatabaseError as error:
            if not passing(error):
                raise
            logger.warning("generation %s: the row cannot be read: %s", self._id, error)
            return None
        self.gone = found is None
        return found
