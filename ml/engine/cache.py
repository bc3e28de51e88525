"""Loaded engines by digest, up to a limit; the least recently used is unloaded first."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from ml.engine.engine import Engine, Request
from ml.sampling import Sampling
from ml.versions.version import CheckpointError, read_version

log = logging.getLogger(__name__)

GOLDEN_SECONDS = 60  # the golden text takes some 20 ms; an overloaded machine may need longer


class _Slot:
    def __init__(self) -> None:
        self.lock = threading.Lock()  # held while this engine loads; other engines load meanwhile
        self.engine: Engine | None = None


class EngineCache:
    """Up to `size` engines, and more only while all of them have streams. Thread-safe."""

    def __init__(
        self,
        *,
        size: int,
        max_streams: int,
        threads: int,
        step: str = "onnx",
        on_death: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._size = size
        self._options = {
            "max_streams": max_streams,
            "threads": threads,
            "step": step,
            "on_death": on_death,
        }
        self._slots: OrderedDict[str, _Slot] = (
            OrderedDict()
        )  # never removed: a thread may wait there
        self._lock = threading.Lock()
        self._drained = self._closed = False

    def get(self, version_folder: Path, digest: str) -> Engine:
        """Return the engine of the version with `digest`; load it from `version_folder` if need be.

        Raises CheckpointError if the folder holds another version or one that must not serve. If
        the engine is evicted before the caller submits to it, the stream finishes with DRAINED at
        once and can be submitted again.
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

    def _load(self, folder: Path, digest: str) -> Engine:
        version = read_version(folder)
        if version.digest != digest:
            raise CheckpointError(
                f"{folder} holds version {version.digest[:12]}, not {digest[:12]}"
            )
        engine = Engine(version, **self._options)  # type: ignore[arg-type]
        try:
            check_golden_text(engine)
        except BaseException:
            engine.close()
            raise
        return engine

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
            log.info("engine %s is unloaded", engine.version.digest[:12])
            engine.close()


def check_golden_text(engine: Engine) -> None:
    """Raise CheckpointError unless the engine writes exactly the version's golden text."""
    golden = engine.version.golden
    try:
        sampling = Sampling(length=golden.length, seed=golden.seed, temperature=golden.temperature)
        request = Request(golden.prompt, sampling)
    except ValueError as error:
        raise CheckpointError(f"the golden text cannot be asked for: {error}") from None
    stream = engine.submit(request)
    if not stream.wait(GOLDEN_SECONDS):
        stream.cancel()
        raise CheckpointError(f"the golden text did not come within {GOLDEN_SECONDS} seconds")
    if stream.text != golden.text:
        at = _first_difference(stream.text, golden.text)
        raise CheckpointError(
            f"the golden text differs at character {at} ({stream.error or stream.reason})"
        )


def _first_difference(a: str, b: str) -> int:
    pairs = zip(a, b, strict=False)
    return next((index for index, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))
