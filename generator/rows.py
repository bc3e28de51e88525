"""Database work from an event loop. Channels' default runs all of it in one thread, where one lock would stop every socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

from channels.db import DatabaseSyncToAsync

P = ParamSpec("P")
R = TypeVar("R")

_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="rows")


def in_thread(function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Return `function` as a coroutine function; its connection is looked after as in a request."""
    return cast("Callable[P, Awaitable[R]]", DatabaseSyncToAsync(function, thread_sensitive=False, executor=_threads))
