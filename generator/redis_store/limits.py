"""Limits that no row tells: what an address does in a minute and open sockets, in Redis; turns and messages, in memory.

With Redis away its limits let everybody in, for texts can still be written then; what rows tell is
limited all the same.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
import uuid
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import cast

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from generator.models import Owner
from generator.redis_store import stream_log

logger = logging.getLogger(__name__)
MINUTE = 60_000  # milliseconds
LEASE = 15_000  # milliseconds a socket's place outlives its web process
RENEW_EVERY = 5.0  # seconds
PATIENCE = 0.5  # seconds; a Redis that is stuck must hold up nobody

# Where this web process listens, and which of those that have listened there it is. One that was
# killed left the places of its sockets behind, and all of these come back at once: they must not
# find their own places taken.
SEAT = f"{socket.gethostname()}:{settings.PORT}"
SITTING = uuid.uuid4().hex

# Takes a place under every key, or under none. A place is a member whose score is the moment it was
# taken, by Redis' own clock; after its lifetime it is free again. That of a socket names seat and
# sitting, seat|sitting|…, and is free as soon as another process takes places at that seat. A limit
# of 0 is not asked: it renews what is held. Returns the number of the key that is full, 0 for none,
# and in how many milliseconds its next place is free.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetime = tonumber(ARGV[2])
local function seat_of(member) return member:match('^([^|]+)|([^|]+)|') end
local seat, sitting = seat_of(ARGV[1])
if seat then
  redis.call('HSET', 'charrnn:seats', seat, sitting)
  redis.call('PEXPIRE', 'charrnn:seats', lifetime)
end
local function free_places_of_the_dead(key)
  local seats = redis.call('HGETALL', 'charrnn:seats')
  local sits = {}
  for i = 1, #seats, 2 do sits[seats[i]] = seats[i + 1] end
  for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    local its_seat, its_sitting = seat_of(member)
    if its_seat and sits[its_seat] and sits[its_seat] ~= its_sitting then redis.call('ZREM', key, member) end
  end
end
for i, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - lifetime)
  local limit, taken = tonumber(ARGV[i + 2]), redis.call('ZCARD', key)
  if seat and limit > 0 and taken >= limit then
    free_places_of_the_dead(key)
    taken = redis.call('ZCARD', key)
  end
  if limit > 0 and taken >= limit then
    local next_free = redis.call('ZRANGE', key, taken - limit, taken - limit, 'WITHSCORES')
    return {i, next_free[2] + lifetime - now}
  end
end
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, now, ARGV[1])
  redis.call('PEXPIRE', key, lifetime)
end
return {0, 0}
"""


@cache
def _client() -> Redis:
    return Redis.from_url(
        settings.REDIS_URL,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
    )


def _address_key(what: str, address: str) -> str:
    return f"charrnn:{what}:{address}"


def address_count(what: str, address: str, member: str, limit: int) -> float:
    """Count a thing an address does, for a minute and under a name. Returns 0, or the seconds until it may do so again.

    An address that is not known is not counted.
    """
    if not address:
        return 0
    try:
        _, wait = cast(
            "tuple[int, int]",
            _client().eval(_TAKE, 1, _address_key(what, address), member, MINUTE, limit),
        )
    except (RedisError, OSError) as error:
        logger.warning("%s of addresses are not limited: %s", what, error)
        return 0
    return wait / 1000


def address_uncount(what: str, address: str, member: str) -> None:
    """Take back what was counted and is not to count."""
    try:
        _client().zrem(_address_key(what, address), member)
    except (RedisError, OSError) as error:
        logger.warning("%s: one that is not to count does so for a minute: %s", what, error)


class SocketPlaces:
    """The place of one socket among those of its owner and of its address."""

    def __init__(self, owner: Owner, address: str) -> None:
        who = f"user:{owner.user_id}" if owner.user_id else f"visitor:{owner.visitor}"
        self._limits = {f"charrnn:sockets:{who}": settings.OWNER_MAX_SOCKETS}
        if address:
            self._limits[f"charrnn:sockets:address:{address}"] = settings.ADDRESS_MAX_SOCKETS
        self._member = f"{SEAT}|{SITTING}|{uuid.uuid4().hex}"
        self._taken_at = 0.0

    async def take(self) -> bool:
        """Take the place and return True, or False when the owner or the address has no more."""
        full, _ = await self._run(list(self._limits.values()))
        return not full

    async def renew(self) -> None:
        """Keep the place, if that is due; also in a Redis that came back empty."""
        if time.monotonic() - self._taken_at >= RENEW_EVERY:
            await self._run([0] * len(self._limits))

    async def give_back(self) -> None:
        """Leave the place to others."""
        try:
            async with asyncio.timeout(PATIENCE):
                pipeline = stream_log.shared_client().pipeline(transaction=False)
                for key in self._limits:
                    pipeline.zrem(key, self._member)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            logger.warning("the place of a socket is kept for its lease: %s", error)

    async def _run(self, limits: list[int]) -> tuple[int, int]:
        self._taken_at = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                call = stream_log.shared_client().eval(
                    _TAKE, len(limits), *self._limits, self._member, LEASE, *limits
                )
                return cast("tuple[int, int]", await cast("Awaitable[object]", call))
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            logger.warning("sockets are not limited: %s", error)
            return 0, 0


class Turns:
    """Lets a few threads at a time do what costs much. Only some may wait for their turn: the rest has other things to do."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._turns = threading.BoundedSemaphore(at_once)
        self._places = threading.BoundedSemaphore(at_once + waiting)

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Wait for a turn and have it until the block ends; False, at once, when as many wait already as may."""
        if not self._places.acquire(blocking=False):
            yield False
            return
        try:
            with self._turns:
                yield True
        finally:
            self._places.release()


class Rate:
    """Counts messages second by second."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._second, self._count = 0, 0

    def exceeded(self) -> bool:
        """Count one message; True when there were more than the limit in this second."""
        second = int(time.monotonic())
        self._count = self._count + 1 if second == self._second else 1
        self._second = second
        return self._count > self._limit
