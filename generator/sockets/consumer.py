"""The socket of one generation: who may open it, and with which code it closes."""

from __future__ import annotations

import asyncio
import json
import logging
from functools import partial
from typing import Any

from autobahn.exception import Disconnected
from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import DatabaseError

from generator import events
from generator.database import passing
from generator.events import CloseCode
from generator.models import Owner
from generator.owners import scope_address, socket_owner
from generator.redis_store.limits import RENEW_EVERY, SocketPlaces
from generator.sockets.access import OwnerAccess, look
from generator.sockets.client import Client
from generator.sockets.follower import Follower, Found
from generator.sockets.store import GenerationStore
from generator.sockets.subscription import subscribed
from generator.sockets.watch import End, Watch, first_of
from generator.threads import in_thread

logger = logging.getLogger(__name__)
CODES = {
    End.ENDED: CloseCode.ENDED,
    End.STALLED: CloseCode.STALLED,
    End.SIGNED_OUT: CloseCode.NOT_SIGNED_IN,
    End.GONE: CloseCode.NOT_YOURS,
    End.BUSY: CloseCode.BUSY,
}


class GenerationConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """`/ws/generations/<uuid>/?after=<offset>`; frames and codes as in generator/events.py."""

    channel_layer_alias = ""  # Channels' own subscription fails without Redis; see subscription.py

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Run Channels' loop, which brings what the client says, beside `serve`, which sends.

        The first to end ends the other, so that nothing is left behind. An error closes with 1011.
        """
        self.connected, self.client = asyncio.Event(), Client(self.send_frame)
        await first_of(super().__call__(scope, receive, send), self.serve())

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Call the handler, without Channels' detour through a thread that has no connections."""
        await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        self.connected.set()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.client.say(text_data)

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        raise StopConsumer

    async def send_frame(self, frame: events.Frame) -> None:
        await self.send(text_data=json.dumps(frame))

    async def serve(self) -> None:
        """Accept the socket, and close it once there is a reason.

        Accept before anything else: the server rejects sockets that wait, and only one that is open
        can be closed with a code of ours.
        """
        await self.connected.wait()
        try:
            await self.accept()
            await self.close((await self.admit()).value)
        except Disconnected:
            logger.debug("a client left while a frame was on its way")
        await self.client.ignore()  # until Channels brings the disconnect

    async def admit(self) -> CloseCode:
        """Let the owner watch if there is a place for one more socket."""
        wanted = self.scope["url_route"]["kwargs"]["generation_id"]
        try:
            owner, found = await in_thread(look)(self.scope["cookies"], wanted)
        except DatabaseError as error:
            if not passing(error):
                raise
            logger.warning("a socket is sent away, the database is busy or away: %s", error)
            return CloseCode.BUSY
        if owner is None or found is None:
            return CloseCode.NOT_YOURS if owner else CloseCode.NOT_SIGNED_IN
        places = SocketPlaces(owner, scope_address(self.scope))
        try:
            if not await places.take():
                return CloseCode.TOO_MANY
            return await first_of(self.follow(owner, found), _keep(places))
        finally:
            await asyncio.shield(places.give_back())

    async def follow(self, owner: Owner, found: Found) -> CloseCode:
        """Send frames and listen to the client for as long as both make sense."""
        pk = found[0].pk
        async with subscribed(events.owner_group(owner), events.group_name(pk)) as subscription:
            follower = Follower(pk, GenerationStore(owner, pk), self.send_frame)
            access = OwnerAccess(owner, pk, partial(socket_owner, self.scope["cookies"]))
            watch = Watch(follower, access, subscription)
            await follower.start(await self.client.offset(self.scope["query_string"]), *found)
            return await first_of(_run(watch), self.client.listen(watch))


async def _run(watch: Watch) -> CloseCode:
    return CODES[await watch.run()]


async def _keep(places: SocketPlaces) -> CloseCode:
    """Renew a place, for ever."""
    while True:
        await asyncio.sleep(RENEW_EVERY)
        await places.renew()
