"""Carries new characters to Redis, and cancels from it.

Its work runs in an event loop, and that in a thread of its own, so that engines never wait for
Redis.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

from generator.events import group_name
from generator.worker import cancels
from generator.worker.frames import Frames, Outage, Outlet
from generator.worker.writing import Writing

logger = logging.getLogger(__name__)
FLUSH_TIMEOUT = 6.0  # seconds


class Publisher:
    """`add` a writing, and `flush` it before its row is closed.

    Any thread may use it, except the one of the loop.

    No call raises when Redis is away, or waits longer than FLUSH_TIMEOUT: the row has the text.
    """

    def __init__(self, outlet: Outlet, loop: asyncio.AbstractEventLoop) -> None:
        self._outage = Outage()
        self._frames = Frames(outlet, self._outage)
        self._loop = loop

    def start(self) -> None:
        """Publish from now on."""
        asyncio.run_coroutine_threadsafe(self._frames.run(), self._loop)

    def listen(self, layer: Any, on_cancel: Callable[[UUID], None]) -> None:
        """Have `on_cancel` called, in the loop, for each cancel that comes over a channel layer."""
        listening = cancels.listen(layer, on_cancel, self._outage.begins)
        asyncio.run_coroutine_threadsafe(listening, self._loop)

    def add(self, writing: Writing) -> None:
        """Publish what this writing's stream makes from now on."""
        self._loop.call_soon_threadsafe(self._frames.add, writing)

    def flush(self, writing: Writing) -> None:
        """Publish the rest of a finished stream, and forget it."""
        self._wait_for(self._frames.finish(writing))

    def let_go(self, generation_id: UUID) -> None:
        """Remove the log of an ended generation in a while: the row has the whole text."""
        self._wait_for(self._frames.expire_soon(generation_id))

    def changed(self, generation_id: UUID) -> None:
        """Tell the sockets to read the row."""
        changed = (group_name(generation_id), {"type": "generation.changed"})
        self._wait_for(self._frames.send([changed]))

    def _wait_for(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(FLUSH_TIMEOUT)
        except Exception as error:  # whatever it is, the row is still to be closed
            logger.warning("Redis did not take a message, the row has it: %r", error)
