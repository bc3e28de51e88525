"""Limits that are counted in Redis: what an address does in a minute, and open sockets.

With Redis away they let everybody in, because texts can still be written then. The limits that are
counted in the database (`generator/admission.py`) hold all the same.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import uuid
from collections.abc import Awaitable
from typing import cast

from django.conf import settings
from redis.exceptions import RedisError

from generator.models import Owner
from generator.redis_store import clients, keys

logger = logging.getLogger(__name__)
MINUTE = 60_000  # milliseconds
LEASE = 15_000  # milliseconds a socket keeps its place when its web process has died
RENEW_EVERY = 5.0  # seconds

# A seat is the address at which a web process listens; a sitting is one process that listens there.
# A process that was killed leaves the places of its sockets behind, and all of its sockets come
# back at once. They must not find their own old places taken.
SEAT = f"{socket.gethostname()}:{settings.PORT}"
SITTING = uuid.uuid4().hex

# Takes a place under every key, or under none. A place is a member of a sorted set; its score is
# the moment when it was taken, by the clock of Redis. It is free again after its lifetime. The
# place of a socket is named seat|sitting|…, and is free as soon as another sitting takes places
# at that seat. A limit of 0 is not checked: it renews a place. Returns the number of the key that
# is full (0 for none), and the milliseconds until a place under that key is free.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetime = tonumber(ARGV[2])
local seats_key = ARGV[3]
local function seat_of(member) return member:match('^([^|]+)|([^|]+)|') end
local seat, sitting = seat_of(ARGV[1])
if seat then
  redis.call('HSET', seats_key, seat, sitting)
  redis.call('PEXPIRE', seats_key, lifetime)
end
local function free_places_of_the_dead(key)
  local seats = redis.call('HGETALL', seats_key)
  local sits = {}
  for i = 1, #seats, 2 do sits[seats[i]] = seats[i + 1] end
  for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    local its_seat, its_sitting = seat_of(member)
    if its_seat and sits[its_seat] and sits[its_seat] ~= its_sitting then
      redis.call('ZREM', key, member)
    end
  end
end
for i, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - lifetime)
  local limit, taken = tonumber(ARGV[i + 3]), redis.call('ZCARD', key)
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


def address_count(what: str, address: str, member: str, limit: int) -> float:
    """Count one action of an address for a minute, under the name `member`.

    Returns 0, or the seconds until the address may do it again. An address that is not known is
    not counted.
    """
    if not address:
        return 0
    try:
        _, wait = cast(
            "tuple[int, int]",
            clients.limits_client().eval(
                _TAKE, 1, keys.address_key(what, address), member, MINUTE, keys.SEATS, limit
            ),
        )
    except (RedisError, OSError) as error:
        logger.warning("%s of addresses are not limited: %s", what, error)
        return 0
    return wait / 1000


def address_uncount(what: str, address: str, member: str) -> None:
    """Take back what was counted under the name `member`."""
    try:
        clients.limits_client().zrem(keys.address_key(what, address), member)
    except (RedisError, OSError) as error:
        logger.warning("%s: one is counted for a minute that should not be: %s", what, error)


class SocketPlaces:
    """The place of one socket among those of its owner and of its address."""

    def __init__(self, owner: Owner, address: str) -> None:
        who = f"user:{owner.user_id}" if owner.user_id else f"visitor:{owner.visitor}"
        self._limits = {keys.sockets_key(who): settings.OWNER_MAX_SOCKETS}
        if address:
            self._limits[keys.sockets_key(f"address:{address}")] = settings.ADDRESS_MAX_SOCKETS
        self._member = f"{SEAT}|{SITTING}|{uuid.uuid4().hex}"
        self._taken_at = 0.0

    async def take(self) -> bool:
        """Take the place. Returns False when the owner or the address has no place left."""
        full, _ = await self._run(list(self._limits.values()))
        return not full

    async def renew(self) -> None:
        """Keep the place, when that is due. This also restores it in a Redis that was emptied."""
        if time.monotonic() - self._taken_at >= RENEW_EVERY:
            await self._run([0] * len(self._limits))

    async def give_back(self) -> None:
        """Free the place."""
        try:
            async with asyncio.timeout(clients.LIMITS_TIMEOUT):
                pipeline = clients.shared_client().pipeline(transaction=False)
                for key in self._limits:
                    pipeline.zrem(key, self._member)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            logger.warning("the place of a closed socket stays taken for its lease: %s", error)

    async def _run(self, limits: list[int]) -> tuple[int, int]:
        self._taken_at = time.monotonic()
        try:
            async with asyncio.timeout(clients.LIMITS_TIMEOUT):
                call = clients.shared_client().eval(
                    _TAKE, len(limits), *self._limits, self._member, LEASE, keys.SEATS, *limits
                )
                return cast("tuple[int, int]", await cast("Awaitable[object]", call))
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            logger.warning("sockets are not limited: %s", error)
            return 0, 0
