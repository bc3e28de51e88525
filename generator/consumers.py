"""The socket of one generation. It checks whose it is, forwards frames, and understands one command: cancel."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from autobahn.exception import Disconnected
from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.utils import await_many_dispatch
from django.conf import settings

from generator import events, selectors, services
from generator.follower import QUIET, Follower
from generator.live import LiveChannel
from generator.models import Owner
from generator.owners import session_owner
from generator.rows import in_thread

Receive = Callable[[], Awaitable[dict[str, Any]]]
logger = logging.getLogger(__name__)
BAD_MESSAGES, NOT_SIGNED_IN, NOT_YOURS, TOO_MANY = 4400, 4401, 4404, 4429
ERRORS_ALLOWED = 3
SESSION_CHECK_EVERY = 30.0  # seconds; a socket outlives a sign-out


class GenerationConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """`/ws/generations/<uuid>/?after=<offset>`; frames as in generator/events.py."""

    follower: Follower | None = None
    watcher: asyncio.Task[None] | None = None
    errors = 0
    canceller: asyncio.Task[None] | None = None
    window = (0, 0)  # a second, and how many messages came in it

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Any) -> None:
        """Serve one socket, with live frames if Redis is there, else from the row; leave nothing behind, however it ends."""
        self.scope, self.base_send = scope, send
        self.live = await LiveChannel.open()
        sources = [receive, self.live.receive] if self.live else [receive]
        try:
            await await_many_dispatch(sources, self.dispatch)
        except (StopConsumer, Disconnected):  # the latter: the client left while a frame was on its way
            pass
        finally:
            for task in (self.watcher, self.canceller):
                if task:
                    task.cancel()
            if self.live:
                await self.live.close()

    async def dispatch(self, message: dict[str, Any]) -> None:
        await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        await self.accept()  # only an accepted socket can be closed with a code of ours
        if code := await self.refusal():
            await self.close(code)
            return
        if self.live:
            await self.live.join(events.group_name(self.generation_id))
        self.follower = Follower(self.generation_id, self.owner, self.send_frame)
        await self.follower.start(await self.parse_offset())
        await self.close_if_over()
        self.watcher = asyncio.create_task(self.watch())

    async def refusal(self) -> int | None:
        """Return the close code for who may not watch, and remember owner and generation of who may."""
        owner = await self.current_owner()
        if owner is None:
            return NOT_SIGNED_IN
        self.owner = owner
        try:
            self.generation_id = UUID(self.scope["url_route"]["kwargs"]["generation_id"])
        except ValueError:
            return NOT_YOURS
        found = await in_thread(selectors.generation_of)(self.owner, self.generation_id)
        return None if found else NOT_YOURS

    async def current_owner(self) -> Owner | None:
        return await in_thread(session_owner)(self.scope["cookies"].get(settings.SESSION_COOKIE_NAME, ""))

    async def parse_offset(self) -> int:
        """Return the offset the client has; a bad one is answered with an error and read as 0."""
        value = parse_qs(self.scope["query_string"].decode("latin-1")).get("after", ["0"])[0]
        if value.isascii() and value.isdecimal() and len(value) < 10:
            return int(value)
        await self.refuse(events.ClientError("bad_offset", "`after` is a whole number of characters, 0 or more."))
        return 0

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        raise StopConsumer

    async def send_frame(self, frame: events.Frame) -> None:
        await self.send(text_data=json.dumps(frame))

    async def refuse(self, error: events.ClientError) -> None:
        self.errors += 1
        await self.send_frame(error.frame)
        if self.errors >= ERRORS_ALLOWED:
            await self.close(BAD_MESSAGES)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        second = int(time.monotonic())
        self.window = (second, self.window[1] + 1 if self.window[0] == second else 1)
        if self.window[1] > settings.SOCKET_MAX_MESSAGES_PER_SECOND:
            await self.close(TOO_MANY)
            return
        if self.follower is None or self.errors >= ERRORS_ALLOWED:
            return  # refused, and closing
        try:
            events.parse_client_message(text_data, settings.SOCKET_MAX_FRAME)
        except events.ClientError as error:
            await self.refuse(error)
            return
        if self.canceller is None:  # saying it a thousand times costs no more than once
            self.canceller = asyncio.create_task(self.cancel())

    async def cancel(self) -> None:
        if not await self.still_theirs():
            return
        generation = await in_thread(selectors.generation_of)(self.owner, self.generation_id)
        if generation:
            await in_thread(services.generation_cancel)(generation=generation)

    async def generation_frame(self, message: events.FrameMessage) -> None:
        if self.follower:
            await self.follower.live(message)

    async def generation_changed(self, message: events.ChangedMessage) -> None:
        if self.follower:
            await self.follower.catch_up()
            await self.close_if_over()

    async def close_if_over(self) -> None:
        if self.follower and (self.follower.ended or self.follower.gone):
            await self.close(NOT_YOURS if self.follower.gone else 1000)

    async def still_theirs(self) -> bool:
        if await self.current_owner() == self.owner:
            return True
        await self.close(NOT_SIGNED_IN)
        return False

    async def watch(self) -> None:
        """Once a second see to gaps, the heartbeat and the session, until the generation is over."""
        checked = time.monotonic()
        while self.follower and not (self.follower.ended or self.follower.gone):
            await asyncio.sleep(QUIET)
            try:
                if time.monotonic() - checked >= SESSION_CHECK_EVERY:
                    checked = time.monotonic()
                    await self.still_theirs()
                await self.follower.check()
                await self.close_if_over()
            except Exception:
                logger.exception("generation %s: the quiet check failed; it is tried again", self.generation_id)
