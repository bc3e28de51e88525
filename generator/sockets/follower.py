"""Decides what to send of one generation: what continues its position, and nothing twice.

The channel layer may lose messages, so live frames only hasten what the log in Redis holds, and the
log only hastens what the row will hold. When live frames skip an offset or stay away for a second,
a follower reads the log, then the row.

The number of characters sent and not yet confirmed is bounded, because nothing else stops the
server from buffering for a client that does not read. Beyond this window a follower sends and keeps
nothing: it drops live frames and reads them again once there is room.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from itertools import takewhile
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError
from redis.exceptions import RedisError

from generator import events
from generator.database import passing
from generator.events import CharsFrame, Frame
from generator.models import Generation
from generator.redis_store.stream_log import Cursor, Entry

logger = logging.getLogger(__name__)
PIECE = 4_000  # characters in a frame; daphne bounds the size of messages in both directions
ALIVE_EVERY = 5.0  # seconds
FILL_PAUSE = 0.2  # seconds between reads of log and row while a gap stays
QUIET = 1.0  # seconds without a live frame after which the log and the row are read
ENTRIES = 100  # of the log read at once
Found = tuple[Generation, int | None]  # a row and its place in the queue


class Store(Protocol):
    """Where a follower reads text that no live frame brought."""

    async def entries(self, after: Cursor, count: int | None = None) -> list[Entry]:
        """Return at most `count` entries of the log. Raises RedisError or OSError without Redis."""

    async def row(self) -> Found | None:
        """Return the row as it is now; None when the owner has none. Raises DatabaseError."""


class Follower:
    """Sends one generation's text to one client. Offsets count code points.

    Everything below `position` has been sent. The client says it has everything below `confirmed`.
    `send` takes the frames in order; whatever it raises is passed on. `clock` counts seconds.
    """

    def __init__(
        self,
        generation_id: UUID,
        store: Store,
        send: Callable[[Frame], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.generation_id = generation_id
        self._store = store
        self._send = send
        self._clock = clock
        self._cursor = Cursor()
        self._lock = asyncio.Lock()  # live frames and the quiet check both advance the position
        self._heard = -math.inf  # last live frame; the first check finds those before we listened
        self._said = clock()  # last time the client was told the state
        self._filled = -math.inf
        self._log_away = False
        self._room_at = clock()  # last time there was room, or the client confirmed something
        self._room_made = False
        self.position = self.confirmed = 0
        self.ended = False
        self.gone = False

    @property
    def full(self) -> bool:
        """Tell whether the client must confirm something before more is sent."""
        return self.position - self.confirmed >= settings.SOCKET_WINDOW

    @property
    def delivered(self) -> bool:
        """Tell whether the client has confirmed the whole text; closing sooner would lose some."""
        return self.ended and self.confirmed >= self.position

    @property
    def stalled(self) -> bool:
        """Tell whether the client has confirmed nothing for too long, although it should have."""
        its_turn = self.full or self.ended
        return its_turn and self._clock() - self._room_at >= settings.SOCKET_STALLED

    async def start(self, after: int, generation: Generation, place: int | None) -> None:
        """Send a snapshot from offset `after` on: the row's text and what the log has beyond it."""
        async with self._lock:
            text = await self._text_so_far(generation)
            self.position = self.confirmed = min(after, len(text))
            first = text[self.position : self.position + PIECE]
            await self._send(events.snapshot_frame(generation, place, self.position, first))
            self.position += len(first)
            await self._send_text(text)
            if self.position < len(text):
                self._cursor = Cursor()  # what did not fit is read again
            await self._end_if_ended(generation)

    def confirm(self, offset: int) -> None:
        """Note that the client has everything below `offset`.

        That may be more than was sent: a client that came back has text that the log has lost and
        that the row, a second behind, does not hold yet.
        """
        was_full = self.full
        self._room_at = self._clock()
        self.confirmed = max(self.confirmed, offset)
        self._room_made |= was_full and not self.full

    async def go_on(self) -> None:
        """Send what fits if the client has made room."""
        if self._room_made:
            self._room_made = False
            await self.catch_up()

    async def live(self, message: events.FrameMessage) -> None:
        """Forward a live frame, after filling a gap before it."""
        async with self._lock:
            self._heard = self._clock()
            if self.full:
                return
            gap = message["frame"]["offset"] > self.position
            if gap and self._heard - self._filled >= FILL_PAUSE:
                await self._fill()
            await self._join((message["attempt"], message["frame"]))

    async def catch_up(self) -> None:
        """Send what log and row have now, and the end if the row has ended."""
        async with self._lock:
            if not self.ended:
                await self._fill()

    async def check(self) -> None:
        """To be called every second: after a quiet second catch up, after five say `alive`."""
        now = self._clock()
        if self.ended:
            return
        if not self.full:
            self._room_at = now
            if now - self._heard >= QUIET:
                await self.catch_up()
        if now - max(self._heard, self._said) >= ALIVE_EVERY:
            await self._say_state()

    async def changed(self) -> None:
        """Catch up after the row's state has changed, and tell the client the state."""
        await self.catch_up()
        await self._say_state()

    async def _say_state(self) -> None:
        self._said = self._clock()
        if not self.ended and (found := await self._load()):
            await self._send(events.alive_frame(*found))

    async def _text_so_far(self, generation: Generation) -> str:
        """Return the row's text and what the log has beyond it."""
        entries = [] if generation.has_ended else await self._log()
        text = events.text_with(generation.text, (frame for _, frame in entries))
        for attempt, frame in takewhile(lambda entry: entry[1]["offset"] <= len(text), entries):
            self._cursor.advance(attempt, frame["offset"])
        return text

    async def _fill(self) -> None:
        """Send what the log has; else what the row has, after which the log may go on again."""
        self._filled = self._clock()
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

    async def _join(self, entry: Entry) -> bool:
        """Forward an entry and return True. One that does not fit yet is left, to be read again."""
        attempt, frame = entry
        if frame["offset"] > self.position or self.full:
            return False
        await self._forward(frame)
        self._cursor.advance(attempt, frame["offset"])
        return True

    async def _forward(self, frame: CharsFrame) -> None:
        """Send the part of a frame that continues the position, if it has one."""
        part = events.part_beyond(frame, self.position)
        if part and not self.ended:
            self.position += len(part["text"])
            await self._send(part)

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

    async def _log(self, count: int | None = None) -> list[Entry]:
        """Return the log's entries after the cursor; none without Redis, since the row has them."""
        try:
            entries = await self._store.entries(self._cursor, count)
        except (RedisError, OSError) as error:
            if not self._log_away:
                logger.warning(
                    "generation %s: the log cannot be read: %s", self.generation_id, error
                )
            self._log_away = True
            return []
        self._log_away = False
        return entries

    async def _load(self) -> Found | None:
        """Return the row, or None when it is gone or cannot be read now."""
        try:
            found = await self._store.row()
        except DatabaseError as error:
            if not passing(error):
                raise
            logger.warning("generation %s: the row cannot be read: %s", self.generation_id, error)
            return None
        self.gone = found is None
        return found
