"""F16: a cancel at any moment ends the text or comes too late, and disturbs no other text."""

from __future__ import annotations

import asyncio
import math
import time

from tests.faults.harness import LONGEST, SEEDS, Load, References, in_background
from tests.faults.injection import start_sound
from tests.faults.test_workers import held, ids_of
from tests.faults.watcher import Watcher
from tests.stack import Stack, wait_until

# Factor on the documented limit of 100 ms, which holds for an idle machine.
GENEROUS = 5
ROUNDS = {False: 4, True: 25}  # for each moment, in the short and the full form
SHORT = 2_000  # characters, so that the last one comes soon


async def test_f16_a_cancel_at_the_first_character_at_the_last_and_twice(
    one: Stack, references: References, full: bool
) -> None:
    stopped: list[float] = []
    async with Load(one, references) as others:
        await others.under_way()
        async with Load(one, references, count=0, length=SHORT) as load:
            for _ in range(ROUNDS[full]):
                watchers = [await load.submit(seed) for seed in SEEDS]
                first, middle, twice, last = watchers
                clicks = (
                    click(first, 1),
                    click(middle, SHORT // 2),
                    click(twice, 500, times=2),
                    click(last, SHORT - 50),
                )
                stopped += [
                    last_character(watcher) - at
                    for watcher, at in zip(watchers, await asyncio.gather(*clicks), strict=True)
                ]
                assert [
                    watcher.end and watcher.end["state"] for watcher in (first, middle, twice)
                ] == ["cancelled"] * 3
            result = load.result(
                "F16",
                **{"click to last character, p99 ms": round(1000 * percentile(stopped, 0.99))},
            )
        await others.finish()
        beside = others.result("F16 others")
    result.save()
    beside.save()
    assert result.cancelled + result.done == 4 * ROUNDS[full]
    assert {row["attempt"] for row in (*load.rows().values(), *others.rows().values())} == {1}
    assert beside.done == beside.accepted
    assert percentile(stopped, 0.99) <= 0.1 * GENEROUS


async def click(watcher: Watcher, characters: int, times: int = 1) -> float:
    """Cancel a text at `characters`, wait for its end, and return the moment of the click."""
    assert await watcher.reaches(characters)
    clicked = time.monotonic()
    for _ in range(times):
        await watcher.cancel()
    assert await watcher.reaches(LONGEST + 1)
    return clicked


def last_character(watcher: Watcher) -> float:
    """Return when the last characters reached the page, shortly after they were sampled."""
    return watcher.arrivals[-1][0]


def percentile(values: list[float], part: float) -> float:
    """Return the smallest value that at least this share of all values does not exceed."""
    return sorted(values)[math.ceil(part * len(values)) - 1]


async def test_f16_a_cancel_while_queued_ends_a_text_that_never_begins(
    one: Stack, references: References
) -> None:
    await in_background(lambda: one.stop("worker"))
    async with Load(one, references, count=6) as load:
        await in_background(
            lambda: wait_until(
                lambda: all(page.connected for page in load.watchers), "the pages are open", 20
            )
        )
        once, twice = load.watchers[:2]
        await asyncio.gather(click(once, 0), click(twice, 0, times=2))
        await in_background(lambda: one.start("worker"))
        load.fault_ended()
        await load.finish()
        result, rows = load.result("F16 queued"), load.rows()
    result.save()
    assert [
        (rows[page.id]["state"], rows[page.id]["attempt"], page.text) for page in (once, twice)
    ] == [("cancelled", 0, "")] * 2
    assert (result.cancelled, result.done) == (2, 4)


async def test_f16_a_cancel_after_its_worker_was_killed_keeps_what_was_shown(
    both: Stack, references: References
) -> None:
    async with Load(both, references) as load:
        await load.under_way()
        worker = ids_of(both, "worker")
        await in_background(lambda: both.kill("worker"))
        orphans = [page for page in load.watchers if page.id in held(load, worker)]
        cancelled, rest = orphans[::2], [page for page in load.watchers if page not in orphans[::2]]
        for page in cancelled:
            await page.cancel()
        await in_background(lambda: start_sound(both, "worker"))
        load.fault_ended()
        await load.finish()
        result, rows = load.result("F16 in F1"), load.rows()
    result.save()
    assert cancelled
    assert {rows[page.id]["state"] for page in cancelled} == {"cancelled"}
    assert {rows[page.id]["state"] for page in rest} == {"done"}
    assert all(page.text for page in cancelled)
