"""The processes that fetch a model version, observed from outside."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path


class Fetches:
    """Collects the processes that fetch into a folder while this context is open."""

    def __init__(self, folder: Path) -> None:
        self.pids: set[int] = set()
        self._folder = os.fsencode(folder)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Fetches:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    words = path.read_bytes().split(b"\0")
                    if b"fetch" in words and any(word.startswith(self._folder) for word in words):
                        self.pids.add(int(path.parent.name))
