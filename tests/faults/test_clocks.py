"""F19: a worker with a wrong clock keeps its texts while it runs; its death is noticed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.faults.harness import Load, References, in_background
from tests.faults.injection import start_sound, start_with
from tests.faults.test_workers import GENEROUS
from tests.stack import Stack

BEHIND, AHEAD = (
    -12,
    3_600,
)  # seconds; the first is more than the silence after which a worker counts as lost


@pytest.fixture
async def sound_again(one: Stack) -> AsyncIterator[None]:
    """Leave a worker with a correct clock to the next test."""
    yield
    await in_background(lambda: start_sound(one, "worker"))


@pytest.mark.usefixtures("sound_again")
async def test_f19_a_worker_that_is_behind_keeps_its_texts_and_one_that_is_ahead_is_missed(
    one: Stack, references: References
) -> None:
    await in_background(lambda: start_with(one, f"clock={BEHIND}", "worker"))
    async with Load(one, references) as load:
        await load.finish()
        behind = load.result("F19 behind")
    assert {row["attempt"] for row in load.rows().values()} == {1}
    await in_background(lambda: start_with(one, f"clock={AHEAD}", "worker"))
    async with Load(one, references) as load:
        await load.under_way()
        await in_background(lambda: one.kill("worker"))
        await in_background(lambda: one.start("worker"))
        load.fault_ended()
        await load.finish(40)
        ahead = load.result("F19 ahead")
    assert {row["attempt"] for row in load.rows().values()} == {2}
    for result in (behind, ahead):
        result.save()
    assert ahead.longest_stall <= 15 * GENEROUS
