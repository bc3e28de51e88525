"""CPU and memory of the product's processes, read from /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.stack import EVERYTHING, Stack


class Usage:
    """What the processes of a copy use from now on, their children included."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._before = self._cpu()
        self._begin = time.perf_counter()

    def _cpu(self) -> dict[str, float]:
        return {
            name: sum(_cpu_seconds(pid) for pid in _group(self._stack.pid(name)))
            for name in EVERYTHING
        }

    def cores(self) -> dict[str, float]:
        """Return how many cores each process kept busy since the start."""
        seconds = time.perf_counter() - self._begin
        return {name: (cpu - self._before[name]) / seconds for name, cpu in self._cpu().items()}

    @staticmethod
    def memory(stack: Stack) -> dict[str, float]:
        """Return resident megabytes of each process."""
        return {
            name: sum(_resident_mb(pid) for pid in _group(stack.pid(name))) for name in EVERYTHING
        }


def _group(leader: int) -> list[int]:
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    return [pid for pid in pids if _stat(pid)[2:3] == [str(leader)]]


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the name: state, parent, group, …"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _resident_mb(pid: int) -> float:
    fields = _stat(pid)
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if fields else 0.0
