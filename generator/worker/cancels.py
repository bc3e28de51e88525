"""Hears over the channel layer which texts to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

from redis.exceptions import RedisError

from generator.events import WORKERS_GROUP, parse_cancel

logger = logging.getLogger(__name__)
REDIS_PAUSE = 1.0  # seconds between tries to listen while Redis is away


async def listen(
    layer: Any,
    on_cancel: Callable[[UUID], None],
    on_away: Callable[[Exception], None],
    pause: float = REDIS_PAUSE,
) -> None:
    """Call `on_cancel` for each cancel, without end.

    While Redis is away it calls `on_away` and tries again. Cancels are then found on the rows, when
    texts are saved.
    """
    channel = ""
    while True:
        try:
            # One channel for good: nobody would empty what a second one leaves behind.
            channel = channel or await layer.new_channel()
            await layer.group_add(WORKERS_GROUP, channel)
            while True:
                await _obey_next(layer, channel, on_cancel)
        except (RedisError, OSError) as error:
            on_away(error)
        except Exception:
            logger.exception("listening for cancels failed; it is tried again")
        await asyncio.sleep(pause)


async def _obey_next(layer: Any, channel: str, on_cancel: Callable[[UUID], None]) -> None:
    try:
        generation_id = parse_cancel(await layer.receive(channel))
    except (RedisError, OSError):
        raise
    except Exception as error:  # no cancel, or nothing that the layer can read; it is gone
        logger.warning("rejected a message to the workers: %r", error)
        return
    on_cancel(generation_id)
