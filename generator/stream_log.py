"""The log of a generation's frames in a Redis Stream: what a browser that missed something reads again.

Entry ids are `attempt-offset`. Redis refuses an id that is not above the last one, which fences off a stale attempt and
drops duplicates without a line of code.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from django.conf import settings
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from generator.events import CharsFrame, log_key


def connect() -> Redis:
    """Return a client that gives up quickly: whoever uses the log can do without it."""
    return Redis.from_url(
        settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0), decode_responses=True
    )


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Redis] = WeakKeyDictionary()


def shared_client() -> Redis:
    """Return the client of the running event loop; its connections are shared by all sockets."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = connect()
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


async def read(client: Redis, generation_id: UUID, cursor: Cursor) -> list[CharsFrame]:
    """Return the frames after `cursor`, oldest first, and move it behind them."""
    frames: list[CharsFrame] = []
    for entry_id, fields in await client.xrange(log_key(generation_id), min=cursor.start):
        attempt, offset = entry_id.split("-")
        cursor.advance(int(attempt), int(offset))
        frames.append(json.loads(fields["frame"]))
    return frames
