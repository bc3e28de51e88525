"""Database work from an event loop, on several threads.

Channels' default runs all of it in one thread, where one lock would stop every socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Generic, ParamSpec, TypeVar, cast

from asgiref.sync import SyncToAsync
from django.db import connection

P = ParamSpec("P")
R = TypeVar("R")
K = TypeVar("K", bound=Hashable)
BATCH = 32  # rows read at once; each may hold a long text

_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="rows")


class _InThread(SyncToAsync[P, R]):
    """Runs a function on a thread that keeps its connection while that works.

    Opening a connection costs several times as much as a query.
    """

    def thread_handler(self, *args: Any, **kwargs: Any) -> Any:
        if connection.connection is not None and not connection.is_usable():
            connection.close()  # the server was restarted
        try:
            return super().thread_handler(*args, **kwargs)  # type: ignore[no-untyped-call]
        finally:
            if connection.errors_occurred:
                connection.close()


def in_thread(
    function: Callable[P, R], threads: ThreadPoolExecutor = _threads
) -> Callable[P, Awaitable[R]]:
    """Return `function` as a coroutine function that runs on one of `threads`.

    It must leave no transaction open.
    """
    return cast(
        "Callable[P, Awaitable[R]]", _InThread(function, thread_sensitive=False, executor=threads)
    )


class Batched(Generic[K, R]):
    """Reads in one go what many ask for.

    Three hundred sockets look at their rows every second, and all at once after a restart. A
    question asked during a read is answered by the next one, so no answer is older than its
    question.
    """

    def __init__(self, read: Callable[[list[K]], dict[K, R]]) -> None:
        self._read = in_thread(read)
        self._asked: dict[K, asyncio.Future[R | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def get(self, key: K) -> R | None:
        """Return what is stored under `key` now, or None. Raises what the read raises."""
        if key not in self._asked:
            self._asked[key] = asyncio.get_running_loop().create_future()
        answer = self._asked[key]
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._answer_all())
        return await asyncio.shield(answer)  # others may wait for the same one

    async def _answer_all(self) -> None:
        while self._asked:
            batch = dict(islice(self._asked.items(), BATCH))
            for key in batch:
                del self._asked[key]
            try:
                found = await self._read(list(batch))
            except Exception as error:
                for answer in batch.values():
                    answer.set_exception(error)
                    answer.exception()  # seen, even if the one who asked is gone by now
            else:
                for key, answer in batch.items():
                    answer.set_result(found.get(key))
