"""supervisord as a child of `manage.py up`: its programs, their exits, and no orphans."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from generator.operations.processes import CONFIGURATION, HOME

SET_DEATH_SIGNAL, SET_CHILD_SUBREAPER = 1, 36  # of prctl(2)
EXITED = re.compile(r"exited: (?P<program>\S+) \((?P<how>.*)\)$")


class ExitLog:
    """The exits of programs in supervisord's log, each returned once.

    Only this log says how a program ended. The XML-RPC interface forgets it at the restart, shows
    every signal as exit status -1, and several exits between two calls as one; the events for
    listeners have no exit status.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a+")
        self._file.seek(0, os.SEEK_END)

    def new(self) -> list[tuple[str, str]]:
        """Return (program, how) of the programs that have ended since the last call."""
        rotated = self._was_rotated()  # asked first: nothing is written to an old file any more
        lines = self._file.readlines()
        if rotated:
            self.close()
            self._file = self._path.open()
            lines += self._file.readlines()
        exits = (EXITED.search(line.rstrip()) for line in lines)
        return [(found["program"], found["how"]) for found in exits if found]

    def _was_rotated(self) -> bool:
        """Return whether supervisord has renamed the file we read and begun another."""
        with contextlib.suppress(FileNotFoundError):  # between the two steps
            return not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        return False

    def close(self) -> None:
        self._file.close()


class Supervisor:
    """supervisord as a child of this process."""

    def __init__(self, environment: Mapping[str, str], data_dir: Path, lock_file: IO[str]) -> None:
        self.logs = data_dir / "logs"
        self.logs.mkdir(exist_ok=True)
        self._exit_log = ExitLog(self.logs / "supervisord.log")
        if sys.platform == "linux":
            _prctl(SET_CHILD_SUBREAPER, 1)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(CONFIGURATION)],
            env=dict(environment),
            cwd=HOME,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches only us, and we end the programs in order
            pass_fds=(lock_file.fileno(),),  # its programs inherit the lock too: minfds=3
            preexec_fn=_end_with_parent,
        )

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def exits(self) -> list[tuple[str, str]]:
        """Return (program, how) of the programs that ended by themselves since the last call."""
        return self._exit_log.new()

    def log_tail(self, program: str, lines: int = 15) -> str:
        """Return the last lines a program wrote."""
        log = self.logs / f"{program}.log"
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def end_orphans(self) -> None:
        """Kill the children of killed processes, which the system makes our children."""
        for pid in _children():
            if pid != self._process.pid:
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)

    def stop(self, patience: float = 15.0) -> None:
        """End every process, by force after `patience` seconds."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        while any(pid != self._process.pid for pid in _children()):
            self.end_orphans()
        self._exit_log.close()


def _end_with_parent() -> None:
    """Make the system end supervisord, and so its programs, when this process is killed."""
    if sys.platform == "linux":
        _prctl(SET_DEATH_SIGNAL, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _children() -> list[int]:
    """Return the ids of our child processes; an empty list where there is no /proc."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            parent = status.read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                found.append(int(status.parent.name))
    return found
