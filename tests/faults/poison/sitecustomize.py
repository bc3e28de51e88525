"""Faults inside real processes: Python imports this at start when PYTHONPATH has this folder.

The variable FAULTS names them as in `SPOILS` below: `name` or `name=argument`, between spaces.
A function is wrapped once its module has been imported. The product has no switch for faults.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

AFTER = 500  # characters that a spoilt stream writes well


def stream_raises(module: Any, seed: str) -> None:
    """The stream with this seed raises inside the engine, in each attempt."""
    append = module.Stream.append

    def raising(self: Any, *values: Any) -> Any:
        if self.request.sampling.seed == int(seed) and len(self.text) >= AFTER:
            raise RuntimeError("this stream was spoilt on purpose")
        return append(self, *values)

    module.Stream.append = raising


def engine_raises(module: Any, argument: str) -> None:
    """`seed:file`: the engine raises once, with this seed's stream in it, and creates the file."""
    advance = module.Batch.advance
    seed, _, file = argument.partition(":")

    def raising(self: Any) -> None:
        if any(
            stream.request.sampling.seed == int(seed) and len(stream.text) >= AFTER
            for stream in self.streams
        ) and _is_first(file):
            raise RuntimeError("this engine was spoilt on purpose")
        advance(self)

    module.Batch.advance = raising


def _is_first(file: str) -> bool:
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def rows_are_not_fenced(module: Any, _: str) -> None:
    """A worker may write to a row that it has lost."""
    module.GenerationQuerySet.held_by = lambda self, generation_id, attempt: self.filter(
        pk=generation_id
    )


def logs_are_not_fenced(module: Any, _: str) -> None:
    """Redis numbers the entries of a log itself, and so refuses none."""

    def append(pipeline: Any, generation_id: Any, attempt: int, frame: Any) -> None:
        key = module.log_key(generation_id)
        pipeline.xadd(key, {"frame": module.json.dumps(frame)})
        pipeline.expire(key, module.settings.LOG_KEEP)

    module.append = append


def text_comes_live_or_not_at_all(module: Any, _: str) -> None:
    """Neither log nor row is asked for text, only whether the generation has ended."""

    async def fill(self: Any) -> None:
        if found := await self._load():
            await self._end_if_ended(found[0])

    async def nothing(*_: Any) -> str:
        return ""

    module.Follower._fill = fill
    module.Follower._text_so_far = nothing


def golden_text_takes_for_ever(module: Any, _: str) -> None:
    """A worker that loads a version does not get beyond its golden text."""
    module.check_golden_text = lambda *_: time.sleep(600)


def clock_is_wrong(module: Any, seconds: str) -> None:
    """The process's clock, not the machine's, is so far ahead; behind, if negative."""
    now, moment, shift = module.now, time.time, float(seconds)
    module.now = lambda: now() + timedelta(seconds=shift)
    time.time = lambda: moment() + shift


SPOILS: dict[str, list[tuple[str, Callable[[Any, str], None]]]] = {
    "stream": [("ml.engine.stream", stream_raises)],
    "engine": [("ml.engine.batch", engine_raises)],
    "fences": [
        ("generator.models", rows_are_not_fenced),
        ("generator.redis_store.stream_log", logs_are_not_fenced),
    ],
    "golden": [("ml.versions.load", golden_text_takes_for_ever)],
    "clock": [("django.utils.timezone", clock_is_wrong)],
    "backfill": [("generator.sockets.follower", text_comes_live_or_not_at_all)],
}


class Spoiler:
    """A finder on `sys.meta_path` that wraps functions of modules once they are imported."""

    def __init__(self, faults: str) -> None:
        self._wanted: dict[str, list[tuple[Callable[[Any, str], None], str]]] = {}
        for fault in faults.split():
            name, _, argument = fault.partition("=")
            for module, spoil in SPOILS[name]:
                self._wanted.setdefault(module, []).append((spoil, argument))

    def find_spec(
        self, name: str, path: Any, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's own specification, with the spoiling after its execution."""
        if name not in self._wanted or (spec := PathFinder.find_spec(name, path, target)) is None:
            return None
        loader: Any = spec.loader
        execute = loader.exec_module

        def execute_and_spoil(module: ModuleType) -> None:
            execute(module)
            for spoil, argument in self._wanted[name]:
                spoil(module, argument)

        loader.exec_module = execute_and_spoil
        return spec


sys.meta_path.insert(0, Spoiler(os.environ.get("FAULTS", "")))  # type: ignore[arg-type]
