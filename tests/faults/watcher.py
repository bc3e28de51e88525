"""A page without a browser: it follows one generation, reconnects and checks every frame."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from contextlib import suppress
from itertools import pairwise
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from tests.visitor import Visitor

FINAL_CODES = (4400, 4401, 4404, 4429)  # after these no page reconnects
# As in static/js/stream.js: seconds.
BACKOFF_FIRST = 0.3
BACKOFF_CAP = 2.5
SILENCE = 12.0
ACK_PAUSE = 0.25
ACK_EVERY = 1_000  # characters


class Watcher:
    """Follows a generation; `errors` has every broken rule of the protocol."""

    def __init__(self, visitor: Visitor, generation_id: str) -> None:
        self.visitor = visitor
        self.id = generation_id
        self.text = ""
        self.end: dict[str, Any] | None = None
        self.errors: list[str] = []
        self.reconnects = 0
        self.refusals: list[int] = []  # statuses of refused handshakes
        self.back: list[float] = []  # moments of the first frame of each connection
        self.positions: list[int] = []  # in the queue, according to the server
        self.begun = time.monotonic()
        self.arrivals: list[tuple[float, int]] = []  # moment, number of characters then
        self._next = 0  # the offset at which the next frame of this connection must begin
        self._socket: ClientConnection | None = None

    async def run(self) -> None:
        """Follow the generation to its end, through faults of the link and the server."""
        failures = 0
        while self.end is None and not self.errors:
            heard = len(self.back)
            with suppress(OSError, WebSocketException, TimeoutError):
                await self._follow()
            if self.end is None and not self.errors:
                failures = 0 if len(self.back) > heard else failures
                self.reconnects += 1
                await asyncio.sleep(
                    random.uniform(0, min(BACKOFF_CAP, BACKOFF_FIRST * 2**failures))
                )
                failures += 1

    async def _follow(self) -> None:
        """Follow one connection. It is aborted, because a stuck server would not answer a close."""
        try:
            socket = self._socket = await self.visitor.socket(self.id, len(self.text))
        except InvalidStatus as refusal:
            self.refusals.append(refusal.response.status_code)
            raise
        confirming = asyncio.create_task(self._confirm(socket))
        try:
            while self.end is None and not self.errors:
                self._take(json.loads(await asyncio.wait_for(socket.recv(), SILENCE)))
            # The whole text is confirmed, so the server closes.
            await self._say(socket, {"type": "ack", "offset": len(self.text)})
            async with asyncio.timeout(SILENCE):
                self.errors += [f"after the end came {message!r:.200}" async for message in socket]
        finally:
            confirming.cancel()
            socket.transport.abort()
            if socket.close_code in FINAL_CODES:
                self.errors.append(f"the server closed with {socket.close_code}")

    async def _confirm(self, socket: ClientConnection) -> None:
        """Confirm characters to the server, which sends only a window ahead of that."""
        confirmed = len(self.text)
        while True:
            await asyncio.sleep(ACK_PAUSE)
            if len(self.text) - confirmed >= ACK_EVERY:
                confirmed = len(self.text)
                await self._say(socket, {"type": "ack", "offset": confirmed})

    @staticmethod
    async def _say(socket: ClientConnection, message: dict[str, Any]) -> None:
        with suppress(ConnectionClosed):  # the end or a fault may come at the same moment
            await socket.send(json.dumps(message))

    @property
    def connected(self) -> bool:
        """Whether a connection has received its first frame."""
        return bool(self.back)

    async def reaches(self, characters: int, patience: float = 60.0) -> bool:
        """Wait until the page shows `characters` or the end; return whether it does in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while len(self.text) < characters and self.end is None:  # noqa: ASYNC110 (no event)
                    await asyncio.sleep(0.002)
                return True
        return False

    async def cancel(self) -> None:
        """Click on Stop."""
        if self._socket:
            await self._say(self._socket, {"type": "cancel"})

    def cut(self) -> None:
        """Abort the connection."""
        if self._socket:
            self._socket.transport.abort()

    def stall(self, since: float = 0.0) -> float:
        """Return the longest seconds without a new character, from `since` to the last one."""
        moments = [
            max(self.begun, since),
            *(moment for moment, _ in self.arrivals if moment > since),
        ]
        return max((later - earlier for earlier, later in pairwise(moments)), default=0.0)

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "snapshot":
            self.back.append(time.monotonic())
            if frame["id"] != self.id:
                self.errors.append(f"a frame of {frame['id']} came")
            self._next = frame["offset"]
            self._join(frame["offset"], frame["text"])
        elif frame["type"] == "chars":
            self._join(frame["offset"], frame["text"])
        elif frame["type"] == "alive":
            if frame["queue_position"] is not None:
                self.positions.append(frame["queue_position"])
        elif frame["type"] == "end":
            self._finish(frame)
        else:
            self.errors.append(f"an unexpected frame: {frame}")

    def _join(self, offset: int, text: str) -> None:
        known = len(self.text) - offset
        if known < 0 or offset != self._next:
            place = f"{self._next} was expected, after {len(self.text)} characters"
            self.errors.append(f"a frame at {offset}, where {place}")
        elif self.text[offset : offset + len(text)] != text[:known]:
            self.errors.append(f"an overlap at {offset} that differs")
        elif len(text) > known:
            self.text += text[known:]
            self.arrivals.append((time.monotonic(), len(self.text)))
        self._next = offset + len(text)

    def _finish(self, frame: dict[str, Any]) -> None:
        self.end = frame
        if (frame["length"], frame["sha256"]) != (
            len(self.text),
            hashlib.sha256(self.text.encode()).hexdigest(),
        ):
            self.errors.append(
                f"the end has {frame['length']} characters; the {len(self.text)} shown differ"
            )
