"""The socket of one generation. It checks whose it is, forwards frames, and understands `cancel` and `ack`."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from autobahn.exception import Disconnected
from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.utils import await_many_dispatch
from django.conf import settings
from django.db import DatabaseError

from generator import events, selectors, services
from generator.admission import Rate
from generator.database import passing
from generator.models import Generation, Owner
from generator.owners import scope_address, socket_owner
from generator.redis_store.limits import SocketPlaces
from generator.sockets.channel import LiveChannel
from generator.sockets.follower import QUIET, Follower
from generator.threads import in_thread

Receive = Callable[[], Awaitable[dict[str, Any]]]
logger = logging.getLogger(__name__)
BAD_MESSAGES, NOT_SIGNED_IN, NOT_YOURS, STALLED, TOO_MANY, BUSY = 4400, 4401, 4404, 4408, 4429, 4503
ERRORS_ALLOWED = 3
SESSION_CHECK_EVERY = 30.0  # seconds; a socket outlives a sign-out


class GenerationConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """`/ws/generations/<uuid>/?after=<offset>`; frames as in generator/events.py."""

    live: LiveChannel | None = None
    follower: Follower | None = None
    places: SocketPlaces | None = None
    watcher: asyncio.Task[None] | None = None
    canceller: asyncio.Task[None] | None = None
    errors = 0

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Any) -> None:
        """Serve one socket, with live frames if Redis is there, else from the row; leave nothing behind, however it ends."""
        self.scope, self.base_send = scope, send
        self.rate = Rate(settings.SOCKET_MAX_MESSAGES_PER_SECOND)
        try:
            await self.dispatch(await receive())  # "connect", and nothing else comes before it
            sources = [receive, self.live.receive] if self.live else [receive]
            await await_many_dispatch(sources, self.dispatch)
        except (
            StopConsumer,
            Disconnected,
        ):  # the latter: the client left while a frame was on its way
            pass
        finally:
            await asyncio.shield(
                self.leave()
            )  # the server cancels again every second once it finds this slow

    async def leave(self) -> None:
        """End what was begun for this socket."""
        for task in (self.watcher, self.canceller):
            if task:
                task.cancel()
        if self.places:
            await self.places.give_back()
        if self.live:
            await self.live.close()

    async def dispatch(self, message: dict[str, Any]) -> None:
        await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        """Accept first: only an accepted socket can be closed with a code of ours, and the server sends away who waits for it."""
        await self.accept()
        try:
            if code := await self.open():
                await self.close(code)
        except DatabaseError as error:
            if not passing(error):
                raise
            logger.warning("a socket is sent away, the database is busy or away: %s", error)
            await self.close(BUSY)

    async def open(self) -> int | None:
        """Begin to follow; return the close code for who may not watch. Owner and row come from one trip to the database."""
        self.live = await LiveChannel.open()
        wanted = self.scope["url_route"]["kwargs"]["generation_id"]
        owner, found = await in_thread(_look)(self.scope["cookies"], wanted)
        if owner is None:
            return NOT_SIGNED_IN
        if found is None:
            return NOT_YOURS
        self.owner = owner
        if self.live:  # without Redis there is nothing to count in
            await self.live.join(events.owner_group(owner))
            self.places = SocketPlaces(owner, scope_address(self.scope))
            if not await self.places.take():
                return TOO_MANY
            await self.live.join(
                events.group_name(found[0].pk)
            )  # what is said before is found by the first check
        await self.start(*found)
        return None

    async def start(self, generation: Generation, place: int | None) -> None:
        self.generation_id = generation.pk
        follower = Follower(generation.pk, self.owner, self.send_frame)
        try:
            after = events.parse_offset(self.scope["query_string"])
        except events.ClientError as error:
            await self.refuse(error)
            after = 0
        await follower.start(after, generation, place)
        self.follower = follower
        await self.close_if_over()
        self.watcher = asyncio.create_task(self.watch())

    async def current_owner(self) -> Owner | None:
        return await in_thread(socket_owner)(self.scope["cookies"])

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
        if self.rate.exceeded():
            await self.close(TOO_MANY)
            return
        if self.follower is None or self.errors >= ERRORS_ALLOWED:
            return  # refused, and closing
        try:
            message = events.parse_client_message(text_data, settings.SOCKET_MAX_FRAME)
        except events.ClientError as error:
            await self.refuse(error)
            return
        if message["type"] == "ack":
            await self.follower.confirm(message["offset"])
            await self.close_if_over()
        elif self.canceller is None:  # saying it a thousand times costs no more than once
            self.canceller = asyncio.create_task(self.cancel())

    async def cancel(self) -> None:
        """Stop the generation; while the database is busy the wish is kept."""
        while True:
            try:
                if await self.still_theirs():
                    generation = await in_thread(selectors.generation_row)(
                        self.owner, self.generation_id
                    )
                    if generation:
                        await in_thread(services.generation_cancel)(generation=generation)
                return
            except DatabaseError as error:
                if not passing(error):
                    raise
                logger.warning(
                    "generation %s: the cancel is tried again: %s", self.generation_id, error
                )
                await asyncio.sleep(QUIET)

    async def generation_frame(self, message: events.FrameMessage) -> None:
        if self.follower:
            await self.follower.live(message)

    async def generation_changed(self, message: events.ChangedMessage) -> None:
        if self.follower:
            await self.follower.changed()
            await self.close_if_over()

    async def owner_changed(self, message: events.OwnerChangedMessage) -> None:
        """Look again whose this is; if that cannot be done now, the check every so often does it."""
        try:
            await self.still_theirs()
        except DatabaseError as error:
            if not passing(error):
                raise
            logger.warning(
                "generation %s: whose it is cannot be read now: %s", self.generation_id, error
            )

    async def close_if_over(self) -> None:
        follower = self.follower
        if follower and follower.gone:
            await self.close(await self.how_it_went())
        elif follower and (follower.delivered or follower.stalled):
            await self.close(1000 if follower.ended else STALLED)

    async def how_it_went(self) -> int:
        """Return the close code for a generation that is gone: deleted, or taken along by a sign-in that we do not know of."""
        try:
            moved = await in_thread(selectors.generation_is_anybodys)(self.generation_id)
        except DatabaseError as error:
            if not passing(error):
                raise
            return BUSY
        return NOT_SIGNED_IN if moved else NOT_YOURS

    async def still_theirs(self) -> bool:
        """Tell whether sign-in and text are still what they were when the socket opened; close it if they are not."""
        if await self.current_owner() != self.owner:
            await self.close(NOT_SIGNED_IN)
        elif not await in_thread(selectors.generation_exists)(self.owner, self.generation_id):
            await self.close(await self.how_it_went())
        else:
            return True
        return False

    async def watch(self) -> None:
        """At once and then once a second see to gaps, the heartbeat, the place and the session, until the socket closes."""
        checked = time.monotonic() - random.uniform(
            0, SESSION_CHECK_EVERY
        )  # those that came together do not ask together
        while self.follower and not self.follower.gone:
            try:
                if self.places:
                    await self.places.renew()
                if time.monotonic() - checked >= SESSION_CHECK_EVERY:
                    checked = time.monotonic()
                    await self.still_theirs()
                await self.follower.check()
                await self.close_if_over()
            except Disconnected:
                return
            except Exception as error:
                if passing(error):
                    logger.warning(
                        "generation %s: the database is busy or away: %s", self.generation_id, error
                    )
                else:
                    logger.exception(
                        "generation %s: the quiet check failed; it is tried again",
                        self.generation_id,
                    )
            await asyncio.sleep(QUIET)


def _look(
    cookies: dict[str, str], generation_id: str
) -> tuple[Owner | None, tuple[Generation, int | None] | None]:
    """Return who asks, and their generation with its place in the queue; None for what is not theirs, or no id at all."""
    owner = socket_owner(cookies)
    if owner is None:
        return None, None
    try:
        wanted = owner, UUID(generation_id)
    except ValueError:
        return owner, None
    return owner, selectors.watched_rows([wanted]).get(wanted)
