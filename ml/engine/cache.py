"""Loaded engines by digest, up to a limit; the least recently used is unloaded first."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from ml.engine.engine import Engine

log = logging.getLogger(__name__)


class _Slot:
    def __init__(self) -> None:
        self.lock = threading.Lock()  # held while this engine loads; other engines load meanwhile
        self.engine: Engine | None = None


class EngineCache:
    """Up to `size` engines, and more only while all of them have streams. Thread-safe."""

    def __init__(self, load: Callable[[Path, str], Engine], *, size: int) -> None:
        """Keep what `load` returns for a version's folder and digest."""
        self._load = load
        self._size = size
        self._slots: OrderedDict[str, _Slot] = (
            OrderedDict()
        )  # never removed: a thread may wait there
        self._lock = threading.Lock()
        self._drained = self._closed = False

    def get(self, version_folder: Path, digest: str) -> Engine:
        """Return the engine of the version with `digest`; load it from `version_folder` if need be.

        Raises what the loader raises for a version that must not serve. If the engine is evicted
        before the caller submits to it, the stream finishes with DRAINED at once and can be
        submitted again.
        """
        with self._lock:
            slot = self._slots.setdefault(digest, _Slot())
            self._slots.move_to_end(digest)
        with slot.lock:
            engine = slot.engine
            if engine is None or not engine.alive:
                engine = self._load(version_folder, digest)
                self._keep(slot, engine)
        self._evict(keep=digest)
        return engine

    def _keep(self, slot: _Slot, engine: Engine) -> None:
        """Store a loaded engine; drain or close it if the cache was, while the engine loaded."""
        with self._lock:
            slot.engine = None if self._closed else engine
            drained, closed = self._drained, self._closed
        if closed:
            engine.close()
        elif drained:
            engine.drain()

    def engines(self) -> list[Engine]:
        """Return the loaded engines, the least recently used first."""
        with self._lock:
            return [slot.engine for slot in self._slots.values() if slot.engine is not None]

    def drain(self) -> None:
        """Finish all streams of all engines with DRAINED, and all later ones, too."""
        with self._lock:
            self._drained = True
        for engine in self.engines():
            engine.drain()

    def close(self) -> None:
        """End all engines, those that are loading included."""
        with self._lock:
            self._drained = self._closed = True
            engines = [slot.engine for slot in self._slots.values() if slot.engine is not None]
            for slot in self._slots.values():
                slot.engine = None
        for engine in engines:
            engine.close()

    def _evict(self, keep: str) -> None:
        evicted = []
        with self._lock:
            loaded = {
                digest: slot for digest, slot in self._slots.items() if slot.engine is not None
            }
            for digest, slot in list(loaded.items()):
                engine = slot.engine
                if (
                    len(loaded) > self._size
                    and digest != keep
                    and engine is not None
                    and not engine.active
                ):
                    evicted.append(engine)
                    slot.engine = None
                    del loaded[digest]
        for engine in evicted:
            log.info("engine %s is unloaded", engine.digest[:12])
            engine.close()
