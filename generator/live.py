"""A socket's own channel in the channel layer: opened if Redis is there, and closed for certain."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from channels.layers import get_channel_layer
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)
PATIENCE = 2.0  # seconds; with Redis away or stuck a socket follows the row instead
AWAY = (RedisError, OSError, TimeoutError)


class LiveChannel:
    """Receives what is sent to the groups it joined."""

    def __init__(self, layer: Any, name: str) -> None:
        self._layer = layer
        self._name = name
        self._groups: list[str] = []
        self._subscribed = True

    @classmethod
    async def open(cls) -> LiveChannel | None:
        """Return a new channel, or None when Redis is away."""
        layer = get_channel_layer()
        try:
            return cls(layer, await asyncio.wait_for(layer.new_channel(), PATIENCE))
        except AWAY as error:
            logger.warning("a socket follows its row only: %s", error)
            return None

    async def join(self, group: str) -> None:
        """Receive what is sent to `group`; without Redis nothing is."""
        try:
            await asyncio.wait_for(self._layer.group_add(group, self._name), PATIENCE)
        except AWAY as error:
            logger.warning("a socket follows its row only: %s", error)
        self._groups.append(group)

    async def receive(self) -> dict[str, Any]:
        """Return the next message. Cancelled while it waits, the layer unsubscribes the channel."""
        try:
            message: dict[str, Any] = await self._layer.receive(self._name)
        except asyncio.CancelledError:
            self._subscribed = False
            raise
        return message

    async def close(self) -> None:
        """Leave the groups and unsubscribe. The layer does the latter only for a receive that is cancelled while it waits."""
        try:
            for group in self._groups:
                await asyncio.wait_for(self._layer.group_discard(group, self._name), PATIENCE)
            while self._subscribed:
                waiting = asyncio.ensure_future(self.receive())
                await asyncio.sleep(0)  # it starts, takes a message that lies ready, or waits
                waiting.cancel()
                await asyncio.wait([waiting], timeout=PATIENCE)
        except AWAY as error:
            logger.warning("a channel could not be left: %s", error)
