"""What the client of one socket says: acknowledgements, cancels, and things that mean nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from django.conf import settings

from generator import events
from generator.admission import Rate
from generator.events import CloseCode
from generator.sockets.watch import Watch

ERRORS_ALLOWED = 3  # the last one closes the socket


class Client:
    """Keeps what the client says until it is read. Answers errors with `send`, and counts them."""

    def __init__(self, send: Callable[[events.Frame], Awaitable[None]]) -> None:
        self._send = send
        self._said: asyncio.Queue[str | None] = asyncio.Queue()
        self._errors = 0

    def say(self, text: str | None) -> None:
        """Take a message; None is a binary one."""
        self._said.put_nowait(text)

    async def offset(self, query_string: bytes) -> int:
        """Return the offset that the address asks for, or 0 after an error frame."""
        try:
            return events.parse_offset(query_string)
        except events.ClientError as error:
            await self._refuse(error)
            return 0

    async def listen(self, watch: Watch) -> CloseCode:
        """Pass messages on to a watch, until there are too many of them or too many errors."""
        rate = Rate(settings.SOCKET_MAX_MESSAGES_PER_SECOND)
        while self._errors < ERRORS_ALLOWED:
            text = await self._said.get()
            if rate.exceeded():
                return CloseCode.TOO_MANY
            try:
                message = events.parse_client_message(text, settings.SOCKET_MAX_FRAME)
            except events.ClientError as error:
                await self._refuse(error)
                continue
            if message["type"] == "ack":
                watch.confirm(message["offset"])
            else:
                watch.cancel()
        return CloseCode.BAD_MESSAGES

    async def ignore(self) -> None:
        """Drop whatever else is said, for ever."""
        while True:
            await self._said.get()

    async def _refuse(self, error: events.ClientError) -> None:
        self._errors += 1
        await self._send(error.frame)
