"""Sends short messages to sockets and workers, from synchronous code, over the channel layer.

A lost message costs time only: whoever it is for also finds the news in the database by polling.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from generator.events import (
    WORKERS_GROUP,
    CancelMessage,
    ChangedMessage,
    OwnerChangedMessage,
    group_name,
    owner_group,
)
from generator.models import Owner

logger = logging.getLogger(__name__)
TIMEOUT = 1.0  # seconds; somebody waits for the page


def generation_changed(generation_id: UUID) -> None:
    """Tell the sockets that watch a generation to read its row."""
    message: ChangedMessage = {"type": "generation.changed"}
    _send(group_name(generation_id), message)


def owner_changed(owner: Owner) -> None:
    """Tell an owner's sockets to check whose they are: after a sign-in, sign-out or lock-out."""
    message: OwnerChangedMessage = {"type": "owner.changed"}
    _send(owner_group(owner), message)


def cancel_running(generation_id: UUID) -> None:
    """Tell the workers to stop a generation. Its own worker also polls the row every second."""
    message: CancelMessage = {"type": "generation.cancel", "id": str(generation_id)}
    _send(WORKERS_GROUP, message)


def _send(group: str, message: Any) -> None:
    async def send() -> None:
        await asyncio.wait_for(get_channel_layer().group_send(group, message), TIMEOUT)

    try:
        async_to_sync(send)()
    except (RedisError, OSError, TimeoutError) as error:
        logger.warning("could not send %s to %s: %s", message["type"], group, error)
