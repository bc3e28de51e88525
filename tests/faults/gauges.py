"""Memory and open files of a product's processes over time."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from tests.stack import Stack, resident

KEPT = 40  # samples of a process in a report
Sample = tuple[float, float, int]  # seconds since the start, MiB, files


def usage(pid: int) -> tuple[float, int]:
    """Return the resident memory of a process in MiB, and how many files it has open."""
    return resident(pid), len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Gauges:
    """Samples of each process, by run: a restart begins a new one.

    Reports show the longest run of each process, because only that can show a leak.
    """

    def __init__(self, stack: Stack, names: tuple[str, ...]) -> None:
        self._stack = stack
        self._names = names
        self._began = time.monotonic()
        self._runs: dict[str, dict[int, list[Sample]]] = {name: {} for name in names}

    def sample(self) -> None:
        """Take a sample of every running process."""
        for name in self._names:
            with contextlib.suppress(
                KeyError, OSError, StopIteration
            ):  # it has ended, or is ending
                pid = self._stack.pid(name)
                self._runs[name].setdefault(pid, []).append(
                    (time.monotonic() - self._began, *usage(pid))
                )

    def series(self) -> dict[str, list[list[float]]]:
        """Return for each process some samples of its longest run: seconds, MiB, files."""
        longest = {name: max(runs.values(), key=len) for name, runs in self._runs.items() if runs}
        return {
            name: [
                [round(value, 1) for value in sample]
                for sample in samples[:: len(samples) // KEPT + 1]
            ]
            for name, samples in longest.items()
        }

    def lines(self) -> list[str]:
        """Return for each process the first, last and largest use of its longest run."""
        rest = f"{'last':>7}{'most':>7}"
        lines = [
            f"{'longest run of':16}{'seconds':>8}{'MiB first':>11}{rest}{'files first':>13}{rest}"
        ]
        for name, runs in self._runs.items():
            if samples := max(runs.values(), key=len, default=[]):
                seconds, memory, files = zip(*samples, strict=True)
                lines.append(
                    f"{name:16}{seconds[-1] - seconds[0]:8.0f}"
                    f"{memory[0]:11.0f}{memory[-1]:7.0f}{max(memory):7.0f}"
                    f"{files[0]:13}{files[-1]:7}{max(files):7}"
                )
        return lines
