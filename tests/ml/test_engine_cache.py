from __future__ import annotations

import gc
import hashlib
import shutil
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ml.checkpoint import CheckpointError, Version
from ml.engine import FinishReason, Request
from ml.engine_cache import EngineCache
from tests.ml.conftest import make_version
from tests.ml.test_checkpoint import edit_meta

LONG = Request("The ", 10_000_000, 1)
SECONDS = 60


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[Version]:
    folder = tmp_path_factory.mktemp("versions")
    return [make_version(folder / str(seed), seed=seed) for seed in range(4)]


@pytest.fixture
def cache() -> Iterator[EngineCache]:
    cache = EngineCache(size=2, max_streams=4, threads=1)
    yield cache
    cache.close()


def test_an_engine_is_loaded_once(cache: EngineCache, version: Version) -> None:
    with ThreadPoolExecutor(8) as pool:
        engines = set(pool.map(lambda _: cache.get(version.folder, version.digest), range(8)))
    assert len(engines) == 1
    assert cache.engines() == list(engines)


def test_the_folder_is_not_needed_once_loaded(cache: EngineCache, version: Version, version_copy: Path) -> None:
    engine = cache.get(version_copy, version.digest)
    shutil.rmtree(version_copy)
    assert cache.get(version_copy, version.digest) is engine


def test_the_least_recently_used_is_given_back(cache: EngineCache, versions: list[Version]) -> None:
    first, second = (cache.get(version.folder, version.digest) for version in versions[:2])
    cache.get(versions[0].folder, versions[0].digest)
    third = cache.get(versions[2].folder, versions[2].digest)
    assert cache.engines() == [first, third]
    assert not second.alive


def test_an_engine_given_back_leaves_no_memory(cache: EngineCache, versions: list[Version]) -> None:
    engine = weakref.ref(cache.get(versions[0].folder, versions[0].digest))
    session = weakref.ref(engine()._step._sessions[0])  # type: ignore[union-attr]
    for version in versions[1:3]:
        cache.get(version.folder, version.digest)
    gc.collect()
    assert engine() is None
    assert session() is None


def test_an_engine_with_streams_is_never_given_back(cache: EngineCache, versions: list[Version]) -> None:
    busy = [cache.get(version.folder, version.digest) for version in versions[:2]]
    streams = [engine.submit(LONG) for engine in busy]
    others = [cache.get(version.folder, version.digest) for version in versions[2:]]
    assert all(engine.alive for engine in busy)
    assert cache.engines() == [*busy, others[1]]
    for stream in streams:
        stream.cancel()
        stream.wait(SECONDS)


def test_another_version_than_asked_for_is_refused(cache: EngineCache, versions: list[Version]) -> None:
    with pytest.raises(CheckpointError, match="holds version"):
        cache.get(versions[0].folder, versions[1].digest)
    assert cache.engines() == []


def test_a_version_that_fails_can_be_asked_for_again(cache: EngineCache, version: Version, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no version folder"):
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
    with pytest.raises(CheckpointError, match="golden text differs at character 50"):
        cache.get(version_copy, digest)
    assert threading.active_count() == threads


def test_a_golden_text_out_of_range_is_refused(cache: EngineCache, version_copy: Path) -> None:
    edit_meta(version_copy, lambda meta: meta["golden"].update(seed=-1))
    digest = hashlib.sha256((version_copy / "model.json").read_bytes()).hexdigest()
    with pytest.raises(CheckpointError, match="seed must be"):
        cache.get(version_copy, digest)


def test_drain_ends_streams_of_every_engine_and_of_later_ones(cache: EngineCache, versions: list[Version]) -> None:
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
