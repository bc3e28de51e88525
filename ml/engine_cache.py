"""Loaded engines by digest: several versions at once, bounded, the least recently used one given back first."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from ml.checkpoint import CheckpointError, read_version
from ml.engine import Engine, Request

log = logging.getLogger(__name__)

GOLDEN_SECONDS = 60  # the golden text takes some 20 ms; this is for a machine that is out of breath


class _Slot:
    def __init__(self) -> None:
        self.lock = threading.Lock()  # held while the engine loads: others who want it wait, those who want another do not
        self.engine: Engine | None = None


class EngineCache:
    """Up to `size` engines, more only while all of them have streams. May be used from any thread."""

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
        self._options = {"max_streams": max_streams, "threads": threads, "step": step, "on_death": on_death}
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._lock = threading.Lock()
        self._drained = False

    def get(self, version_folder: Path, digest: str) -> Engine:
        """Return the engine of the version with `digest`, loaded from `version_folder` unless it is there already.

        Raises CheckpointError if the folder holds another version or one that must not serve. Should the engine be given
        back before the caller submits to it, the stream finishes with DRAINED at once and can be submitted again.
        """
        with self._lock:
            slot = self._slots.setdefault(digest, _Slot())
            self._slots.move_to_end(digest)
        with slot.lock:
            engine = slot.engine
            if engine is None or not engine.alive:
                try:
                    engine = slot.engine = self._load(version_folder, digest)
                except BaseException:
                    with self._lock:
                        self._slots.pop(digest, None)
                    raise
        if self._drained:
            engine.drain()
        self._evict(keep=digest)
        return engine

    def engines(self) -> list[Engine]:
        """Return the loaded engines, the least recently used first."""
        with self._lock:
            return [slot.engine for slot in self._slots.values() if slot.engine is not None]

    def drain(self) -> None:
        """Finish all streams of all engines with DRAINED, and those that come later."""
        self._drained = True
        for engine in self.engines():
            engine.drain()

    def close(self) -> None:
        """End all engines."""
        self._drained = True
        engines = self.engines()
        with self._lock:
            self._slots.clear()
        for engine in engines:
            engine.close()

    def _load(self, folder: Path, digest: str) -> Engine:
        version = read_version(folder)
        if version.digest != digest:
            raise CheckpointError(f"{folder} holds version {version.digest[:12]}, not {digest[:12]}")
        engine = Engine(version, **self._options)  # type: ignore[arg-type]
        try:
            check_golden_text(engine)
        except BaseException:
            engine.close()
            raise
        return engine

    def _evict(self, keep: str) -> None:
        with self._lock:
            idle = [
                digest
                for digest, slot in self._slots.items()
                if digest != keep and slot.engine is not None and not slot.engine.active
            ]
            idle = idle[: max(0, len(self._slots) - self._size)]
            evicted = [engine for digest in idle if (engine := self._slots.pop(digest).engine)]
        for engine in evicted:
            log.info("engine %s given back", engine.version.digest[:12])
            engine.close()


def check_golden_text(engine: Engine) -> None:
    """Raise CheckpointError unless the engine writes the version's golden text, character by character."""
    golden = engine.version.golden
    try:
        request = Request(golden.prompt, golden.length, golden.seed, golden.temperature)
    except ValueError as error:
        raise CheckpointError(f"the golden text cannot be asked for: {error}") from None
    stream = engine.submit(request)
    if not stream.wait(GOLDEN_SECONDS):
        stream.cancel()
        raise CheckpointError(f"the golden text did not come within {GOLDEN_SECONDS} seconds")
    if stream.text != golden.text:
        at = _first_difference(stream.text, golden.text)
        raise CheckpointError(f"the golden text differs at character {at} ({stream.error or stream.reason})")


def _first_difference(a: str, b: str) -> int:
    pairs = zip(a, b, strict=False)
    return next((index for index, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))
