"""F14: a stream raises inside the engine, and the engine's thread dies, in a real worker."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.harness import COUNT, SEEDS, Load, References, in_background
from tests.faults.injection import SPOILT_SEED, start_sound, start_with
from tests.stack import Stack, wait_until

MAX_FAILURES = 3  # the default of GENERATION_MAX_FAILURES


@pytest.fixture
async def sound_again(one: Stack) -> AsyncIterator[None]:
    """Leave a worker without faults to the next test."""
    yield
    await in_background(lambda: start_sound(one, "worker"))


@pytest.mark.usefixtures("sound_again")
async def test_f14_a_stream_that_raises_fails_alone_and_with_a_reason(
    one: Stack, references: References
) -> None:
    await in_background(lambda: start_with(one, f"stream={SPOILT_SEED}", "worker"))
    async with (
        Load(one, references) as load,
        Load(one, references, count=1, seeds=(SPOILT_SEED,)) as spoilt,
    ):
        await spoilt.finish()
        await load.finish()
        page, (row,) = spoilt.watchers[0], spoilt.rows().values()
        result = load.result("F14 stream", **{"attempts of the spoilt one": row["attempt"]})
    result.save()
    assert {row["attempt"] for row in load.rows().values()} == {1}
    assert page.end is not None
    assert page.end["state"] == row["state"] == "failed"
    assert page.end["error"] == row["error"] == "The model failed on this text."
    assert (row["attempt"], row["failures"]) == (MAX_FAILURES, MAX_FAILURES)
    assert not page.errors
    assert row["text"] == page.text
    assert page.text
    assert references.text(SPOILT_SEED).startswith(page.text)


async def test_f14_a_dead_engine_ends_its_process_and_costs_no_text(
    one: Stack, references: References, tmp_path: Path
) -> None:
    await in_background(
        lambda: start_with(one, f"engine={SPOILT_SEED}:{tmp_path / 'died'}", "worker")
    )
    seeds = (*(SEEDS * COUNT)[: COUNT - 1], SPOILT_SEED)  # last: the others are active by then
    async with Load(one, references, seeds=seeds) as load:
        await in_background(
            lambda: wait_until(lambda: not one.is_running("worker"), "the process ends by itself")
        )
        code = one.stop("worker")  # it has ended: this returns its exit code
        # As supervisord does, see tests/integration/test_up.py.
        await in_background(lambda: one.start("worker"))
        load.fault_ended()
        await load.finish()
        result = load.result("F14 engine", **{"exit code": code})
    result.save()
    assert code == os.EX_SOFTWARE
    outcomes = {(row["attempt"], row["failures"]) for row in load.rows().values()}
    assert outcomes == {(2, 0)}, "no text counts it as a failure of its own"
