"""What must hold for every case of a list of bad input, besides its answer.

The answer comes in time. Only the rows stated are stored. The logs of web and worker show no
traceback, and both still run. Right after it, a good request of another visitor is served. At the
end of the list, both processes have released the memory that it took.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tests.stack import Stack, resident, wait_until

# Seconds to an answer, and growth of memory a minute after the list: as documented, and as allowed
# on a busy machine.
SHOULD, MUST = 1.0, 5.0
GROWTH_STATED, GROWTH_ALLOWED = 1.10, 1.25
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
    """One list of bad input for one running copy; a context manager around all of its cases."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack = stack
        self.name = name
        self._seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        for _ in range(3):
            good_request(self.stack)  # loads what any first request loads
        self._pids = {name: self.stack.pid(name) for name in WATCHED}
        self._before = {name: resident(pid) for name, pid in self._pids.items()}
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._say_seconds()
            self._expect_memory_back()

    @contextmanager
    def case(self, name: str, *, stores: int = 0) -> Iterator[None]:
        """Time the block and check the product after it; it must store `stores` generations."""
        rows = self._rows()
        marks = {process: self._log(process).stat().st_size for process in WATCHED}
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
            median = seconds[len(seconds) // 2]
            print(f"\n{self.name}: {len(seconds)} cases, median {median * 1000:.0f} ms,", end=" ")
            print(f"slowest {seconds[-1] * 1000:.0f} ms ({slowest}), {late} above {SHOULD:.0f} s")

    def _expect_memory_back(self) -> None:
        begun = time.monotonic()
        for name, before in self._before.items():
            now = wait_until(
                lambda pid=self._pids[name], most=before * GROWTH_ALLOWED: (
                    (held := resident(pid)) <= most and held
                ),  # type: ignore[misc]
                f"{name} releases the memory that {self.name} took; it had {before:.0f} MiB",
                PATIENCE,
            )
            stated = "within" if now <= before * GROWTH_STATED else "above"
            print(f"{self.name}: {name} {before:.0f} → {now:.0f} MiB, {stated} 10 %", end="; ")
        print(f"measured after {time.monotonic() - begun:.1f} s")
