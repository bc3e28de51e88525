"""The log of a generation's frames, a Redis Stream: a browser that missed frames reads it again.

Entry ids are `attempt-offset`. Redis refuses an id that is not above the last one, which fences off
a stale attempt and drops duplicates without a line of code.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError, ResponseError

from generator.events import CharsFrame, text_with
from generator.redis_store import clients
from generator.redis_store.keys import log_key

logger = logging.getLogger(__name__)
Entry = tuple[int, CharsFrame]  # attempt and frame


@dataclass(slots=True)
class Cursor:
    """How far a reader has come in a log."""

    attempt: int = 0
    offset: int = -1

    def advance(self, attempt: int, offset: int) -> None:
        """Move on to an entry, never back."""
        self.attempt, self.offset = max((self.attempt, self.offset), (attempt, offset))

    @property
    def start(self) -> str:
        return f"({self.attempt}-{self.offset}" if self.offset >= 0 else "-"


def append(pipeline: Pipeline, generation_id: UUID, attempt: int, frame: CharsFrame) -> None:
    """Queue one frame on a pipeline, and the expiry of the whole log; two commands."""
    key = log_key(generation_id)
    pipeline.xadd(key, {"frame": json.dumps(frame)}, id=f"{attempt}-{frame['offset']}")
    pipeline.expire(key, settings.LOG_KEEP)


async def append_all(frames: Sequence[tuple[UUID, int, CharsFrame]]) -> list[bool]:
    """Append frames (generation, attempt, frame) to their logs in one round trip.

    Returns for each whether it may be shown: False when a later attempt has written already.
    Raises RedisError or OSError while Redis is away.
    """
    pipeline = clients.shared_client().pipeline(transaction=False)
    for generation_id, attempt, frame in frames:
        append(pipeline, generation_id, attempt, frame)
    results = await pipeline.execute(raise_on_error=False)
    return [not _was_refused(result) for result in results[::2]]


def _was_refused(result: Any) -> bool:
    return isinstance(result, ResponseError) and "equal or smaller" in str(result)


async def read(
    client: Redis, generation_id: UUID, after: Cursor, count: int | None = None
) -> list[Entry]:
    """Return the entries after a cursor, oldest first; at most `count`."""
    return [
        _entry(*raw)
        for raw in await client.xrange(log_key(generation_id), min=after.start, count=count)
    ]


def known_text(generation_id: UUID, text: str) -> str:
    """Return the text of a row that no worker holds, with what the log has beyond it.

    While Redis is away that is the row's text alone.
    """
    try:
        with clients.log_client() as client:
            entries = [_entry(*raw) for raw in client.xrange(log_key(generation_id))]
            text = text_with(text, (frame for _, frame in entries))
    except (RedisError, OSError) as error:
        logger.warning("generation %s: the log cannot be read: %s", generation_id, error)
    return text


async def expire_soon(generation_id: UUID) -> None:
    """Have the log of an ended generation go before long: an hour of them all would fill Redis."""
    await clients.shared_client().expire(log_key(generation_id), settings.LOG_KEEP_ENDED)


def forget(generation_id: UUID) -> None:
    """Remove a log; with Redis away it goes by itself after a while."""
    with contextlib.suppress(RedisError, OSError), clients.log_client() as client:
        client.delete(log_key(generation_id))


def _entry(entry_id: str, fields: dict[str, str]) -> Entry:
    return int(entry_id.split("-")[0]), json.loads(fields["frame"])
