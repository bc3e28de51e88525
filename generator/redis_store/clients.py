"""The kinds of Redis clients, each with the time it waits for an answer.

None of them repeats a command: every caller can do without Redis for a moment, and a retry would
only hold it up. Celery and the channel layer have clients of their own, configured in the settings.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

LOG_TIMEOUT = 2.0  # seconds; a log can be long
QUEUE_TIMEOUT = 2.0  # seconds; a queue can be long
LIMITS_TIMEOUT = 0.5  # seconds; somebody waits for the page, and without an answer they are let in
PING_TIMEOUT = 1.0  # seconds
CONNECT_TIMEOUT = 1.0  # seconds; the other end is near, or it is away

_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncRedis] = WeakKeyDictionary()


def shared_client() -> AsyncRedis:
    """Return the client of the running event loop, which answers with text.

    All sockets of a web process share its connections, and so do all texts of a worker.
    """
    loop = asyncio.get_running_loop()
    if loop not in _of_loops:
        _of_loops[loop] = AsyncRedis.from_url(
            settings.REDIS_URL,
            retry=AsyncRetry(NoBackoff(), 0),
            socket_timeout=LOG_TIMEOUT,
            socket_connect_timeout=CONNECT_TIMEOUT,
            decode_responses=True,
        )
    return _of_loops[loop]


def log_client() -> Redis:
    """Return a new client for stream logs, which answers with text. For threads; close it."""
    return _connect(LOG_TIMEOUT, decode_responses=True)


@cache
def queue_client() -> Redis:
    """Return this process's client for Celery's queues. For threads.

    It answers with bytes, because junk may be no text.
    """
    return _connect(QUEUE_TIMEOUT)


@cache
def limits_client() -> Redis:
    """Return this process's client for limits. For threads."""
    return _connect(LIMITS_TIMEOUT)


def ping() -> None:
    """Ask Redis for a sign of life on a new connection.

    Raises RedisError or OSError when there is none, ValueError when REDIS_URL is no address.
    """
    with _connect(PING_TIMEOUT) as client:
        client.ping()


def _connect(timeout: float, **options: Any) -> Redis:
    return Redis.from_url(
        settings.REDIS_URL,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout,
        socket_connect_timeout=min(timeout, CONNECT_TIMEOUT),
        **options,
    )
