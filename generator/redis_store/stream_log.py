"""The log of a generation's frames in a Redis Stream: what a browser that missed something reads again.

Entry ids are `attempt-offset`. Redis refuses an id that is not above the last one, which fences off
a stale attempt and drops duplicates without a line of code.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from django.conf import settings
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry as SyncRetry

from generator.events import CharsFrame, log_key

logger = logging.getLogger(__name__)
Entry = tuple[int, CharsFrame]  # attempt and frame

# Whoever uses the log can do without it, so clients give up quickly.
_OPTIONS: dict[str, Any] = {
    "socket_timeout": 2,
    "socket_connect_timeout": 1,
    "decode_responses": True,
}


def _connect() -> Redis:
    return Redis.from_url(settings.REDIS_URL, retry=Retry(NoBackoff(), 0), **_OPTIONS)


def _connect_sync() -> SyncRedis:
    return SyncRedis.from_url(settings.REDIS_URL, retry=SyncRetry(NoBackoff(), 0), **_OPTIONS)


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Redis] = WeakKeyDictionary()


def shared_client() -> Redis:
    """Return the client of the running event loop; its connections are shared by all sockets."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = _connect()
    return _clients[loop]


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


def was_refused(result: Any) -> bool:
    """Tell whether an append was refused because a later attempt has written already."""
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
    """Return a row's text with what the log has beyond it, for a row that no worker holds. With Redis away: the text."""
    try:
        with _connect_sync() as client:
            for raw in client.xrange(log_key(generation_id)):
                _, frame = _entry(*raw)
                if frame["offset"] > len(text):
                    break
                text += frame["text"][len(text) - frame["offset"] :]
    except (RedisError, OSError) as error:
        logger.warning("generation %s: the log cannot be read: %s", generation_id, error)
    return text


async def expire_soon(generation_id: UUID) -> None:
    """Have the log of an ended generation go before long: an hour of them all would fill Redis."""
    await shared_client().expire(log_key(generation_id), settings.LOG_KEEP_ENDED)


def forget(generation_id: UUID) -> None:
    """Remove a log; with Redis away it goes by itself after a while."""
    with contextlib.suppress(RedisError, OSError), _connect_sync() as client:
        client.delete(log_key(generation_id))


def _entry(entry_id: str, fields: dict[str, str]) -> Entry:
    return int(entry_id.split("-")[0]), json.loads(fields["frame"])
