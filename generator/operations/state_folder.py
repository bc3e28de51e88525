"""The state folder, DATA_DIR: locked by the one copy that runs on it, and closed to other users."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

OTHERS = 0o077  # the mode bits of everybody but the owner


class NotPossible(Exception):
    """The product cannot start. The message is one sentence for the person at the terminal."""


def lock(data_dir: Path, address: str) -> IO[str]:
    """Lock a state folder and return the open file that holds the lock.

    Every process of a copy inherits it, so the folder stays locked until the last of them ends.
    Raises NotPossible if another copy, or a process left from one, runs on the folder.
    """
    file = (data_dir / "up.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with file:
            raise NotPossible(_why_locked(data_dir, file)) from None
    file.seek(0)
    file.truncate()
    file.write(f"{address}\n{os.getpid()}")
    file.flush()
    return file


def _why_locked(data_dir: Path, file: IO[str]) -> str:
    file.seek(0)
    where, _, up = file.read().partition("\n")
    left = _holders(file)
    if not left or not up.isdecimal() or int(up) in left:
        return (
            f"CharRNN Live already runs on {data_dir}, at {where or 'an unknown address'}; "
            "stop it first, or choose another DATA_DIR and PORT."
        )
    named = ", ".join(f"{name} ({pid})" for pid, name in left.items())
    pids = " ".join(map(str, left))
    return (
        f"Processes of an earlier start still run on {data_dir}: {named}. "
        f"End them with `kill {pids}`, or `kill -9 {pids}` if they stay, and start again."
    )


def _holders(file: IO[str]) -> dict[int, str]:
    """Return the other processes that have a file open: id -> name.

    Empty where there is no /proc.
    """
    wanted, found = os.fstat(file.fileno()), {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            opened = any(
                os.path.samestat(wanted, descriptor.stat()) for descriptor in _descriptors(folder)
            )
            if opened and int(folder.name) != os.getpid():
                found[int(folder.name)] = _name(folder)
    return dict(sorted(found.items()))


def _descriptors(folder: Path) -> Iterator[Path]:
    for descriptor in (folder / "fd").iterdir():
        if descriptor.exists():
            yield descriptor


def _name(folder: Path) -> str:
    """Return supervisord's name of a process, else the name of its Python module or program."""
    environment = dict(
        pair.split("=", 1)
        for pair in (folder / "environ").read_text(errors="replace").split("\0")
        if "=" in pair
    )
    if name := environment.get("SUPERVISOR_PROCESS_NAME"):
        return name
    words = (folder / "cmdline").read_text(errors="replace").replace("\0", " ").split()
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1]
    return Path(words[0]).name if words else "a process"


def open_to_others(folder: Path) -> str:
    """Return why other users can look into a state folder, or an empty string if they cannot."""
    status = folder.stat()
    if status.st_uid != os.geteuid():
        return f"{folder} belongs to another user ({_user(status.st_uid)})"
    mode = stat.S_IMODE(status.st_mode)
    return f"{folder} is open to other users (mode {mode:o})" if mode & OTHERS else ""


def close_to_others(folder: Path) -> tuple[bool, str]:
    """Close a state folder to other users. Return whether it is closed, and a message or "".

    The databases in it are closed in any case. The folder itself keeps its mode if others may need
    it: a home folder, a folder of the root, or one with a sticky bit.
    """
    if not (problem := open_to_others(folder)):
        return True, ""
    before = folder.stat()
    for file in (*folder.glob("db.sqlite3*"), *folder.glob("mlflow.db*")):
        with contextlib.suppress(OSError):
            file.chmod(file.stat().st_mode & ~OTHERS)
    if (
        before.st_uid == os.geteuid()
        and not before.st_mode & stat.S_ISVTX
        and folder != Path.home()
        and len(folder.parts) > 2
    ):
        with contextlib.suppress(OSError):
            folder.chmod(before.st_mode & ~OTHERS)
            mode = stat.S_IMODE(before.st_mode)
            return True, f"{folder} is closed to other users now; its mode was {mode:o}"
    return False, problem


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
