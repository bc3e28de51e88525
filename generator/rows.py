"""Database work from an event loop. Channels' default runs all of it in one thread, where one lock would stop every socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar, cast

from asgiref.sync import SyncToAsync
from django.db import connection

P = ParamSpec("P")
R = TypeVar("R")

_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="rows")


class _InThread(SyncToAsync[P, R]):
    """Each thread keeps its connection, as long as it works: to open one costs several times as much as a query."""

    def thread_handler(self, *args: Any, **kwargs: Any) -> Any:
        if connection.connection is not None and not connection.is_usable():  # a server that was restarted
            connection.close()
        try:
            return super().thread_handler(*args, **kwargs)  # type: ignore[no-untyped-call]
        finally:
            if connection.errors_occurred:
                connection.close()


def in_thread(function: Callable[P, R], threads: ThreadPoolExecutor = _threads) -> Callable[P, Awaitable[R]]:
    """Return `function` as a coroutine function that runs on one of `threads`. It must leave no transaction open."""
    return cast("Callable[P, Awaitable[R]]", _InThread(function, thread_sensitive=False, executor=threads))
