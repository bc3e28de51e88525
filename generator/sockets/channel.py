"""A socket's own channel in the channel layer: opened if Redis is there, and closed for certain."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from weakref import WeakSet

from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from generator import events

logger = logging.getLogger(__name__)
KEPT = 64  # messages; a consumer that waits for the database need not have more
PATIENCE = 2.0  # seconds; with Redis away or stuck a socket follows the row instead
AWAY = (RedisError, OSError, TimeoutError)

_awake: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


async def _keep_awake(layer: Any) -> None:
    """Leave the process one subscription for good: without any, the layer looks only ten times a second whether there is one."""
    loop = asyncio.get_running_loop()
    if loop in _awake:
        return
    _awake.add(loop)  # at once: of many sockets that open together one does it
    try:
        await layer.new_channel()
    except BaseException:
        _awake.discard(loop)
        raise


class LiveChannel:
    """Receives what is sent to the groups it joined, and keeps the latest of it until it is asked for.

    The layer's own queue has no bound, so it is emptied at once. What is dropped here leaves a gap,
    and a gap is filled.
    """

    def __init__(self, layer: Any, name: str) -> None:
        self._layer = layer
        self._name = name
        self._groups: list[str] = []
        self._messages: asyncio.Queue[events.LiveMessage] = asyncio.Queue(KEPT)
        self._pump = asyncio.create_task(self._take_over())

    @classmethod
    async def open(cls) -> LiveChannel | None:
        """Return a new channel, or None when Redis is away."""
        layer = get_channel_layer()
        try:
            await asyncio.wait_for(_keep_awake(layer), PATIENCE)
            channel = cls(layer, await asyncio.wait_for(layer.new_channel(), PATIENCE))
        except AWAY as error:
            logger.warning("a socket follows its row only: %s", error)
            return None
        await asyncio.sleep(
            0
        )  # the pump starts: the layer unsubscribes only what is cancelled while it waits
        return channel

    async def join(self, group: str) -> None:
        """Receive what is sent to `group`; without Redis nothing is."""
        try:
            await asyncio.wait_for(self._layer.group_add(group, self._name), PATIENCE)
        except AWAY as error:
            logger.warning("a socket follows its row only: %s", error)
        self._groups.append(group)

    async def receive(self) -> events.LiveMessage:
        """Return the next message."""
        return await self._messages.get()

    async def _take_over(self) -> None:
        while True:
            try:
                message = events.parse_live(await self._layer.receive(self._name))
            except Exception as error:  # also what the layer cannot read; it is gone, and what it left out is read elsewhere
                logger.warning("rejected a message to a socket: %r", error)
                continue
            if self._messages.full():
                self._messages.get_nowait()
            self._messages.put_nowait(message)

    async def close(self) -> None:
        """Leave the groups and unsubscribe."""
        try:
            for group in self._groups:
                await asyncio.wait_for(self._layer.group_discard(group, self._name), PATIENCE)
        except AWAY as error:
            logger.warning("a group could not be left: %s", error)
        finally:
            self._pump.cancel()
            await asyncio.wait([self._pump], timeout=PATIENCE)
