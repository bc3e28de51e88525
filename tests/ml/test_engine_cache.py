from __future__ import annotations

import gc
import hashlib
import shutil
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PosixPath
from typing import Any

import pytest

from ml.engine.cache import EngineCache
from ml.engine.engine import FinishReason
from ml.versions.errors import VersionError
from ml.versions.load import load_engine
from ml.versions.version import Version
from tests.ml.conftest import make_version
from tests.ml.streams import LONG, SECONDS
from tests.ml.tampering import edit_meta

LOAD = partial(load_engine, max_streams=4, threads=1)


class SlowFolder(PosixPath):
    """A folder on a disk that answers only once `ready` is set."""

    asked: threading.Event
    ready: threading.Event

    @classmethod
    def at(cls, folder: Path) -> SlowFolder:
        slow = cls(folder)
        slow.asked, slow.ready = threading.Event(), threading.Event()
        return slow

    def is_dir(self) -> bool:
        self.asked.set()
        assert self.ready.wait(SECONDS)
        return super().is_dir()


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[Version]:
    folder = tmp_path_factory.mktemp("versions")
    return [make_version(folder / str(seed), seed=seed) for seed in range(4)]


@pytest.fixture
def cache() -> Iterator[EngineCache]:
    cache = EngineCache(LOAD, size=2)
    yield cache
    cache.close()


def test_an_engine_is_loaded_once(cache: EngineCache, version: Version) -> None:
    with ThreadPoolExecutor(8) as pool:
        engines = set(pool.map(lambda _: cache.get(version.folder, version.digest), range(8)))
    assert len(engines) == 1
    assert cache.engines() == list(engines)


def test_the_folder_is_not_needed_once_loaded(
    cache: EngineCache, version: Version, version_copy: Path
) -> None:
    engine = cache.get(version_copy, version.digest)
    shutil.rmtree(version_copy)
    assert cache.get(version_copy, version.digest) is engine


def test_the_least_recently_used_engine_is_released(
    cache: EngineCache, versions: list[Version]
) -> None:
    first, second = (cache.get(version.folder, version.digest) for version in versions[:2])
    cache.get(versions[0].folder, versions[0].digest)
    third = cache.get(versions[2].folder, versions[2].digest)
    assert cache.engines() == [first, third]
    assert not second.alive


def test_a_released_engine_leaves_no_memory(cache: EngineCache, versions: list[Version]) -> None:
    engine = weakref.ref(cache.get(versions[0].folder, versions[0].digest))
    session = weakref.ref(engine()._step._sessions[0])  # type: ignore[union-attr]
    for version in versions[1:3]:
        cache.get(version.folder, version.digest)
    gc.collect()
    assert engine() is None
    assert session() is None


def test_an_engine_with_streams_is_never_released(
    cache: EngineCache, versions: list[Version]
) -> None:
    busy = [cache.get(version.folder, version.digest) for version in versions[:2]]
    streams = [engine.submit(LONG) for engine in busy]
    others = [cache.get(version.folder, version.digest) for version in versions[2:]]
    assert all(engine.alive for engine in busy)
    assert cache.engines() == [*busy, others[1]]
    for stream in streams:
        stream.cancel()
        stream.wait(SECONDS)


def test_a_folder_with_another_version_is_refused(
    cache: EngineCache, versions: list[Version]
) -> None:
    with pytest.raises(VersionError, match="holds version"):
        cache.get(versions[0].folder, versions[1].digest)
    assert cache.engines() == []


def test_a_version_that_failed_can_be_loaded_again(
    cache: EngineCache, version: Version, tmp_path: Path
) -> None:
    with pytest.raises(VersionError, match="no version folder"):
        cache.get(tmp_path / "later", version.digest)
    shutil.copytree(version.folder, tmp_path / "later")
    assert cache.get(tmp_path / "later", version.digest).alive


def test_a_wrong_golden_text_is_refused(cache: EngineCache, version_copy: Path) -> None:
    def spoil(meta: dict[str, Any]) -> None:
        text = meta["golden"]["text"]
        meta["golden"]["text"] = text[:50] + "\u2603" + text[51:]

    edit_meta(version_copy, spoil)
    digest = hashlib.sha256((version_copy / "model.json").read_bytes()).hexdigest()
    threads = threading.active_count()
    with pytest.raises(VersionError, match="golden text differs at character 50"):
        cache.get(version_copy, digest)
    assert threading.active_count() == threads


def test_a_golden_text_out_of_range_is_refused(cache: EngineCache, version_copy: Path) -> None:
    edit_meta(version_copy, lambda meta: meta["golden"].update(seed=-1))
    digest = hashlib.sha256((version_copy / "model.json").read_bytes()).hexdigest()
    with pytest.raises(VersionError, match="seed must be"):
        cache.get(version_copy, digest)


def test_drain_ends_streams_of_every_engine_and_of_later_ones(
    cache: EngineCache, versions: list[Version]
) -> None:
    streams = [cache.get(version.folder, version.digest).submit(LONG) for version in versions[:2]]
    cache.drain()
    streams.append(cache.get(versions[2].folder, versions[2].digest).submit(LONG))
    for stream in streams:
        assert stream.wait(SECONDS)
        assert stream.reason == FinishReason.DRAINED


def test_a_dead_engine_is_replaced(cache: EngineCache, version: Version) -> None:
    dead = cache.get(version.folder, version.digest)
    dead.close()
    assert cache.get(version.folder, version.digest).alive


def test_an_engine_that_loads_after_a_failed_load_is_drained_and_closed(
    cache: EngineCache, version: Version, tmp_path: Path
) -> None:
    missing = SlowFolder.at(tmp_path / "missing")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, missing, version.digest)
        assert missing.asked.wait(SECONDS)
        second = pool.submit(cache.get, version.folder, version.digest)
        # Let the second wait for the first. If it comes later, the test passes and shows nothing.
        time.sleep(0.2)
        missing.ready.set()
        with pytest.raises(VersionError, match="no version folder"):
            first.result(SECONDS)
        engine = second.result(SECONDS)
    assert cache.engines() == [engine]
    assert cache.get(version.folder, version.digest) is engine
    stream = engine.submit(LONG)
    cache.drain()
    assert stream.wait(SECONDS)
    cache.close()
    assert not engine.alive


def test_a_load_that_fails_leaves_room_for_others(
    cache: EngineCache, versions: list[Version], tmp_path: Path
) -> None:
    engines = [cache.get(version.folder, version.digest) for version in versions[:2]]
    with pytest.raises(VersionError):
        cache.get(tmp_path / "missing", versions[2].digest)
    assert cache.engines() == engines


@pytest.mark.parametrize("end", ["drain", "close"])
def test_an_engine_that_is_loaded_after_the_end_writes_nothing(version: Version, end: str) -> None:
    cache = EngineCache(LOAD, size=2)
    slow = SlowFolder.at(version.folder)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(cache.get, slow, version.digest)
        assert slow.asked.wait(SECONDS)
        getattr(cache, end)()
        slow.ready.set()
        engine = loading.result(SECONDS)
    stream = engine.submit(LONG)
    assert stream.wait(SECONDS)
    assert stream.reason == FinishReason.DRAINED
    assert engine.alive == (end == "drain")
    cache.close()
    assert not engine.alive
