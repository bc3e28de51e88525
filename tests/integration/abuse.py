"""What every list of bad input shows besides its answers: they come in time, nothing breaks, nothing grows.

A case has ended well when its answer came in time, only rows that may be stored were, the logs of
web and worker show no traceback, both are the processes they were, and somebody else's good request
is served right after. When the whole list is through, both have given back the memory it took.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tests.stack import Stack, resident, wait_until

SHOULD, MUST = (
    1.0,
    5.0,
)  # seconds to an answer: what is stated, and what a machine out of breath is allowed
GROWTH_STATED, GROWTH_ALLOWED = 1.10, 1.25  # of memory, a minute after the list
PATIENCE = 60.0
GENERATIONS = "SELECT COUNT(*) AS n FROM generator_generation"
WATCHED = ("web", "worker")


def good_request(stack: Stack) -> None:
    """Submit as a new visitor and wait for the whole text."""
    visitor = stack.visitor()
    url = visitor.submit(length=20)["url"]
    row = wait_until(
        lambda: (row := visitor.get(f"{url}export.json").json())["state"] == "done" and row,
        "a good text",
        20,
    )
    assert len(row["text"]) == 20


class Abuse:
    """One list of bad input against one running copy of the product; a context manager around all of its cases."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack = stack
        self.name = name
        self._seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        for _ in range(3):
            good_request(self.stack)  # what a first request loads is no leak
        self._pids = {name: self.stack.pid(name) for name in WATCHED}
        self._before = {name: resident(pid) for name, pid in self._pids.items()}
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._say_seconds()
            self._expect_memory_back()

    @contextmanager
    def case(self, name: str, *, stores: int = 0) -> Iterator[None]:
        """Time what the block does, and look around after it. `stores` is how many generations it may leave."""
        rows, marks = (
            self._rows(),
            {process: self._log(process).stat().st_size for process in WATCHED},
        )
        begun = time.monotonic()
        yield
        self._seconds[name] = time.monotonic() - begun
        assert self._seconds[name] <= MUST, f"{name}: {self._seconds[name]:.1f} s"
        assert self._rows() == rows + stores
        good_request(self.stack)
        for process, mark in marks.items():
            assert "Traceback" not in self._log(process).read_bytes()[mark:].decode(
                errors="replace"
            ), self.stack.logs(process)
            assert self.stack.is_running(process), self.stack.logs(process)
        assert {process: self.stack.pid(process) for process in WATCHED} == self._pids

    def _rows(self) -> int:
        return int(self.stack.rows(GENERATIONS)[0]["n"])

    def _log(self, process: str) -> Path:
        return self.stack.data_dir / "logs" / f"{process}.log"

    def _say_seconds(self) -> None:
        seconds = sorted(self._seconds.values())
        if seconds:
            slowest = max(self._seconds, key=lambda name: self._seconds[name])
            late = sum(value > SHOULD for value in seconds)
            print(
                f"\n{self.name}: {len(seconds)} cases, median {seconds[len(seconds) // 2] * 1000:.0f} ms,",
                end=" ",
            )
            print(f"slowest {seconds[-1] * 1000:.0f} ms ({slowest}), {late} above {SHOULD:.0f} s")

    def _expect_memory_back(self) -> None:
        begun = time.monotonic()
        for name, before in self._before.items():
            now = wait_until(
                lambda pid=self._pids[name], most=before * GROWTH_ALLOWED: (
                    (held := resident(pid)) <= most and held
                ),  # type: ignore[misc]
                f"{name} gives back what {self.name} took; it had {before:.0f} MiB",
                PATIENCE,
            )
            stated = "within" if now <= before * GROWTH_STATED else "above"
            print(f"{self.name}: {name} {before:.0f} → {now:.0f} MiB, {stated} 10 %", end="; ")
        print(f"looked at after {time.monotonic() - begun:.1f} s")
