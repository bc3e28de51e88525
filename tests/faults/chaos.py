"""Random faults on the running product, one at a time; after each, every process runs again."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from redis import Redis

from tests.faults.harness import in_background
from tests.faults.test_workers import WORKERS
from tests.stack import Stack

FROZEN = (11.0, 16.0)  # seconds; more than the heartbeat limit
AWAY = (0.0, 5.0)  # seconds before what was killed is started again
QUIET = (1.0, 8.0)  # seconds between two faults


class Chaos:
    """Random faults; `counts` has the number of each.

    The same seed gives the same faults, but at other characters of the texts.
    """

    def __init__(self, stack: Stack, chance: random.Random) -> None:
        self._stack = stack
        self._chance = chance
        self.counts: Counter[str] = Counter()

    async def run(self, until: float) -> None:
        """Cause faults until `until` on the monotonic clock."""
        faults: tuple[Callable[[], Awaitable[None]], ...] = (
            self.worker_killed,
            self.worker_told_to_stop,
            self.worker_frozen,
            self.every_worker_killed,
            self.redis_killed,
            self.redis_emptied,
            self.web_killed,
            self.housekeeping_killed,
            self.nothing,
        )
        while time.monotonic() < until:
            fault = self._chance.choice(faults)
            self.counts[fault.__name__] += 1
            await fault()
            await asyncio.sleep(self._chance.uniform(*QUIET))

    async def worker_killed(self) -> None:
        """Kill one of the two workers."""
        await self._restart(signal.SIGKILL, self._chance.choice(WORKERS))

    async def worker_told_to_stop(self) -> None:
        """Stop a worker as a deployment does."""
        await self._restart(signal.SIGTERM, self._chance.choice(WORKERS))

    async def every_worker_killed(self) -> None:
        """Kill both workers; texts wait until one is back."""
        await self._restart(signal.SIGKILL, *WORKERS)

    async def worker_frozen(self) -> None:
        """Freeze a worker beyond the heartbeat limit, so that others take its texts."""
        name, seconds = self._chance.choice(WORKERS), self._chance.uniform(*FROZEN)
        await in_background(lambda: self._stack.freeze(name))
        await asyncio.sleep(seconds)
        self._stack.send(name, signal.SIGCONT)

    async def redis_killed(self) -> None:
        """Kill Redis; it comes back empty."""
        await self._restart(signal.SIGKILL, "redis")

    async def redis_emptied(self) -> None:
        """Empty Redis: logs and messages are lost, connections stay."""
        with Redis.from_url(self._stack.redis_url) as redis:
            await in_background(redis.flushall)

    async def web_killed(self) -> None:
        """Kill the web process: all pages lose their sockets at once."""
        await self._restart(signal.SIGKILL, "web")

    async def housekeeping_killed(self) -> None:
        """Kill housekeeping: no texts are requeued meanwhile."""
        await self._restart(signal.SIGKILL, "housekeeping")

    async def nothing(self) -> None:
        """Wait without a fault, so that the product can recover."""
        await asyncio.sleep(self._chance.uniform(*FROZEN))

    async def _restart(self, number: int, *names: str) -> None:
        seconds = self._chance.uniform(*AWAY)
        for name in names:
            await in_background(partial(self._stack.stop, name, number))
        await asyncio.sleep(seconds)
        await in_background(lambda: self._stack.start(*names))
