"""The files of model versions on this machine, fetched from the registry by a subprocess.

Importing mlflow takes seconds and 180 MB, so no worker does it. The first thread that needs a
version fetches it, under a lock beside the folder that all workers on a data folder share. The
others wait, and then find the files or the reason why there are none.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from django.conf import settings

from generator.models import ModelVersion
from generator.versions import mirror
from ml.versions.errors import NotInRegistry, RegistryError, VersionRefused
from ml.versions.version import is_complete

logger = logging.getLogger(__name__)
LOOK_AGAIN = 0.05  # seconds between looks at a lock that somebody else holds
NEVER = threading.Event()
_REFUSALS = {error.exit_code: error for error in (VersionRefused, NotInRegistry)}


def are_here(version: ModelVersion) -> bool:
    """Tell whether a version's files lie on this machine, unverified."""
    return bool(version.digest) and is_complete(_folder(version))


def _folder(version: ModelVersion) -> Path:
    folder: Path = settings.VERSIONS_DIR / version.digest
    return folder


def version_folder(
    version: ModelVersion, *, anew: bool = False, stop: threading.Event = NEVER
) -> Path:
    """Return the folder with a version's files, unverified. Fetches them if they are not here.

    A failed fetch is not repeated for a while, unless `anew`. `stop` ends the wait for others.
    Raises VersionRefused if another try is of no use, else RegistryError.
    """
    if are_here(version):
        return _folder(version)
    if not version.digest:
        raise VersionRefused(f"{version} has no digest: {version.problem}")
    home = _folder(version).parent
    home.mkdir(parents=True, exist_ok=True)
    with _alone([home / f".{version.digest}.lock"], stop) as lock:
        if not are_here(version):
            if not anew:
                _raise_remembered(version)
            slots = [home / f".fetch-{slot}.lock" for slot in range(settings.FETCHES_AT_ONCE)]
            with _alone(slots, stop):
                _fetch_and_remember(version, lock)
    return _folder(version)


def _raise_remembered(version: ModelVersion) -> None:
    reason = mirror.files_remembered(version=version)
    if reason:
        raise VersionRefused(reason)
    if reason is not None:
        raise RegistryError(f"the files of {version} could not be fetched a moment ago")


def _fetch_and_remember(version: ModelVersion, lock: int) -> None:
    try:
        _fetch(version, lock)
    except VersionRefused as error:
        retry_after = timedelta(seconds=settings.FETCH_REFUSED_KEPT)
        mirror.files_missing(version=version, reason=str(error), retry_after=retry_after)
        raise
    except RegistryError:
        retry_after = timedelta(seconds=settings.FETCH_FAILED_KEPT)
        mirror.files_missing(version=version, reason="", retry_after=retry_after)
        raise
    mirror.files_found(version=version)


def _fetch(version: ModelVersion, lock: int) -> None:
    """Run `python -m ml fetch`. It inherits the lock, and keeps it if this process ends first."""
    folder = _folder(version)
    for left in folder.parent.glob(f".{folder.name}-*"):  # of a fetch that was killed
        shutil.rmtree(left, ignore_errors=True)
    wanted = ["--version", str(version.version), "--out", str(folder)]
    own = {
        "MLFLOW_TRACKING_URI": settings.MLFLOW_TRACKING_URI,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # we try again ourselves
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ml", "fetch", *wanted],
            env={**os.environ, **own},
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=settings.FETCH_TIMEOUT,
            pass_fds=(lock,),
        )
    except subprocess.TimeoutExpired:
        raise RegistryError(
            f"fetching {version} took longer than {settings.FETCH_TIMEOUT:.0f} s"
        ) from None
    except OSError as error:  # no memory or no room for another process
        raise RegistryError(f"{version} could not be fetched: {error.strerror}") from error
    if done.returncode:
        logger.warning(
            "fetching %s ended with %d: %s", version, done.returncode, done.stderr.strip()[-4_000:]
        )
        raise _REFUSALS.get(done.returncode, RegistryError)(
            _sentence(done.stderr) or f"{version} could not be fetched"
        )


def _sentence(stderr: str) -> str:
    """Return the sentence with which a command of ours ended, without other output."""
    last = (stderr.strip().splitlines() or [""])[-1]
    return last.removeprefix("error: ") if last.startswith("error: ") else ""


@contextmanager
def _alone(paths: list[Path], stop: threading.Event) -> Iterator[int]:
    """Hold the first of some lock files that is free, and yield its descriptor.

    The locks hold among threads and processes.
    """
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(path.open("ab")).fileno() for path in paths]
        while (held := next(filter(_locked, files), None)) is None:
            if stop.is_set():
                raise RegistryError("this process is ending")
            time.sleep(LOOK_AGAIN)
        yield held  # closing the file gives the lock back


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
