"""Controls: with a broken part in the product, a row of the fault table must have a bad result."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from tests.faults.harness import (
    LONGEST,
    SEEDS,
    TWO_WORKERS,
    Load,
    References,
    Result,
    in_background,
)
from tests.faults.injection import SPOILT_SEED, start_sound, start_with
from tests.faults.test_workers import WORKERS, ends, freeze, held, ids_of
from tests.stack import Stack, wait_until

HOUSEKEEPERS = ("beat", "housekeeping")
PATIENCE = 20.0  # seconds; housekeeping requeues a dead worker's texts after 10 to 12


@pytest.fixture
async def sound_again(both: Stack) -> AsyncIterator[None]:
    """Leave sound processes to the next test."""
    yield
    await in_background(
        lambda: start_sound(both, *(name for name in TWO_WORKERS if name != "redis"))
    )


@pytest.mark.usefixtures("sound_again")
async def test_without_housekeeping_f1_loses_texts(both: Stack, references: References) -> None:
    async with Load(both, references) as load:
        await load.under_way()
        for name in HOUSEKEEPERS:
            both.kill(name)
        worker = ids_of(both, "worker")
        await in_background(lambda: both.kill("worker"))
        lost = held(load, worker)
        await load.finish(PATIENCE)
        result = load.result("F1 without housekeeping")
    assert not result.good
    assert result.lost == len(lost) > 0


@pytest.mark.usefixtures("sound_again")
async def test_without_fences_f4_sees_a_stale_writer(both: Stack, references: References) -> None:
    await in_background(lambda: start_with(both, "fences", *WORKERS))
    async with Load(both, references) as load:
        await load.under_way()
        await in_background(lambda: freeze(load, both))
        await load.finish()
        ended = ends(both, load)
        both.send("worker", signal.SIGCONT)
        await in_background(
            lambda: wait_until(lambda: ends(both, load) != ended, "the frozen one writes", PATIENCE)
        )


@pytest.mark.usefixtures("sound_again")
async def test_with_text_over_the_channel_layer_alone_f5_loses_characters(
    both: Stack, references: References
) -> None:
    await in_background(lambda: start_with(both, "backfill", "web"))
    assert (
        await watched_from_the_start(both, references, lambda: None)
    ).good  # the fault alone makes the difference
    result = await watched_from_the_start(
        both, references, lambda: both.restart("redis", signal.SIGKILL)
    )
    assert not result.good
    assert result.lost + result.wrong == result.accepted


async def watched_from_the_start(
    stack: Stack, references: References, fault: Callable[[], None]
) -> Result:
    """Return the result of texts whose pages were open before the first character."""
    for name in WORKERS:
        await in_background(partial(stack.stop, name))
    async with Load(stack, references, count=4, length=LONGEST) as load:
        await in_background(
            lambda: wait_until(
                lambda: all(page.connected for page in load.watchers), "the pages are open"
            )
        )
        await in_background(lambda: stack.start(*WORKERS))
        await load.under_way()
        await in_background(fault)
        await load.finish(PATIENCE)
        return load.result("F5 without backfill")


def test_no_row_writes_with_the_seed_that_is_spoilt() -> None:
    assert SPOILT_SEED not in SEEDS
