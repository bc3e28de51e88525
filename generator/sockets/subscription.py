"""One subscription to the channel layer per socket: it gives messages in order and ends cleanly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakSet

from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from generator import events

logger = logging.getLogger(__name__)
KEPT = 64  # messages waiting to be received; older ones are dropped
PATIENCE = 2.0  # seconds for each command; without Redis a socket follows its row instead
AWAY = (RedisError, OSError, TimeoutError)

_awake: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


@asynccontextmanager
async def subscribed(*groups: str) -> AsyncIterator[Subscription | None]:
    """Give a subscription to these groups for the length of a block, or None when Redis is away."""
    subscription = Subscription(groups)
    try:
        yield subscription if await subscription.opened() else None
    finally:
        await asyncio.shield(subscription.close())


async def _keep_awake(layer: Any) -> None:
    """Keep one subscription of this process open for good.

    With none open, the layer looks only ten times a second whether there is one again.
    """
    loop = asyncio.get_running_loop()
    if loop in _awake:
        return
    _awake.add(loop)  # before waiting, so that one of many sockets that open together does it
    try:
        await layer.new_channel()
    except BaseException:
        _awake.discard(loop)
        raise


class Subscription:
    """Receives what is sent to its groups and keeps the latest messages until they are asked for.

    The layer's own queue has no bound, so it is emptied at once. A frame that is dropped here
    leaves a gap, and the follower fills gaps.

    Opening is a task of its own, which a client that leaves meanwhile does not cancel: all sockets
    share the connection to Redis, and a command cut short would spoil it.
    """

    def __init__(self, groups: tuple[str, ...]) -> None:
        self._groups = groups
        self._layer = get_channel_layer()
        self._name = ""
        self._messages: asyncio.Queue[events.SocketMessage] = asyncio.Queue(KEPT)
        self._pump: asyncio.Task[None] | None = None
        self._opening = asyncio.create_task(self._open())

    async def opened(self) -> bool:
        """Wait until the subscription is open; False when Redis is away."""
        return await asyncio.shield(self._opening)

    async def receive(self) -> events.SocketMessage:
        """Return the next message."""
        return await self._messages.get()

    async def close(self) -> None:
        """Leave the groups and unsubscribe."""
        await asyncio.wait([self._opening])
        if self._pump is None:
            return
        try:
            for group in self._groups:
                await asyncio.wait_for(self._layer.group_discard(group, self._name), PATIENCE)
        except AWAY as error:
            logger.warning("a socket could not leave its groups: %s", error)
        finally:
            self._pump.cancel()
            await asyncio.wait([self._pump], timeout=PATIENCE)

    async def _open(self) -> bool:
        try:
            await asyncio.wait_for(_keep_awake(self._layer), PATIENCE)
            self._name = await asyncio.wait_for(self._layer.new_channel(), PATIENCE)
        except AWAY as error:
            logger.warning("a socket follows its row only: %s", error)
            return False
        self._pump = asyncio.create_task(self._take_over())
        await asyncio.sleep(
            0
        )  # lets it wait: the layer unsubscribes who is cancelled while waiting
        try:
            for group in self._groups:
                await asyncio.wait_for(self._layer.group_add(group, self._name), PATIENCE)
        except AWAY as error:
            logger.warning("a socket follows its row only: %s", error)
        return True

    async def _take_over(self) -> None:
        """Move messages from the layer's queue to ours."""
        while True:
            try:
                message = events.parse_socket_message(await self._layer.receive(self._name))
            except (
                Exception
            ) as error:  # one bad message, of whatever kind; its text is read elsewhere
                logger.warning("rejected a message to a socket: %r", error)
                continue
            if self._messages.full():
                self._messages.get_nowait()
            self._messages.put_nowait(message)
