"""F1 to F4: workers that are killed, stopped, frozen and absent while sixteen texts are written."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from typing import Any
from uuid import UUID

from tests.faults.harness import TWO_WORKERS, Load, References, in_background, whole
from tests.stack import Stack, wait_until

GENEROUS = (
    2  # limits of the table are promises for a quiet machine; what was measured is in the table
)
WORKERS = ("worker", "worker-2")


async def test_f1_a_killed_workers_texts_are_finished_by_another(
    both: Stack, references: References, chance: random.Random, full: bool
) -> None:
    for instant in range(30 if full else 1):
        await in_background(lambda: whole(both, *TWO_WORKERS))
        async with Load(both, references) as load:
            await load.under_way()
            await asyncio.sleep(chance.uniform(0, 1.5))
            victim, ids = max(
                ((name, ids_of(both, name)) for name in WORKERS),
                key=lambda one: len(held(load, one[1])),
            )
            await in_background(lambda: both.kill(victim))  # noqa: B023 (it runs now)
            load.fault_ended()
            lost = held(load, ids)
            await load.finish()
            result = load.result(f"F1 instant {instant + 1:02}" if full else "F1", held=len(lost))
            attempts = {key: row["attempt"] for key, row in load.rows().items()}
        result.save()
        assert len(lost) >= 5
        assert attempts == {key: 2 if key in lost else 1 for key in attempts}
        assert result.longest_stall <= 15 * GENEROUS


def ids_of(stack: Stack, name: str) -> set[str]:
    """Return under which id a running worker process claims generations."""
    return {
        row["id"]
        for row in stack.rows("SELECT id FROM generator_worker WHERE pid = ?", stack.pid(name))
    }


def held(load: Load, workers: set[str]) -> set[str]:
    """Return the ids of the load's running generations that a worker holds. What a dead one held stays so for some seconds."""
    return {
        key
        for key, row in load.rows().items()
        if row["state"] == "running" and row["worker_id"] in workers
    }


async def test_f2_a_worker_that_is_told_to_stop_saves_and_gives_back_all_it_held(
    one: Stack, references: References
) -> None:
    async with Load(one, references) as load:
        await load.under_way()
        began = time.monotonic()
        code = await in_background(lambda: one.stop("worker", signal.SIGTERM))
        took = time.monotonic() - began
        saved = load.rows()
        shown = {page.id: page.text for page in load.watchers}
        await in_background(lambda: one.start("worker"))
        load.fault_ended()
        await load.finish()
        result = load.result("F2", **{"stopped in s": round(took, 1)})
    result.save()
    assert code == 0
    assert {row["state"] for row in saved.values()} == {"queued"}
    assert all(row["text"].startswith(shown[key]) and row["text"] for key, row in saved.items())
    assert {row["attempt"] for row in load.rows().values()} == {2}
    assert took <= 3 * GENEROUS
    assert (
        result.longest_stall <= 6 * 2 * GENEROUS
    )  # with the start of a process, which takes seconds when the machine is busy


async def test_f3_without_any_worker_the_pages_are_told_their_place_in_the_queue(
    both: Stack, references: References
) -> None:
    async with Load(both, references) as load:
        await load.under_way()
        for name in WORKERS:
            await in_background(lambda name=name: both.kill(name))  # type: ignore[misc]
        await in_background(
            lambda: wait_until(
                lambda: all_told(load), "every page is told its place in the queue", 60
            )
        )
        places = sorted(page.positions[-1] for page in load.watchers if page.end is None)
        await in_background(lambda: both.start("worker"))
        load.fault_ended()
        await load.finish()
        result = load.result("F3", waiting=len(places))
    result.save()
    assert places == list(range(1, len(places) + 1))


def all_told(load: Load) -> bool:
    """Tell whether every page whose text waits was told its place after the last of them was given back."""
    waiting = [page for page in load.watchers if page.end is None]
    given_back = [row for row in load.rows().values() if row["state"] == "queued"]
    return (
        len(waiting)
        == len(given_back)
        == len({page.positions[-1] for page in waiting if page.positions})
    )


async def test_f4_a_frozen_worker_that_comes_back_writes_to_nothing_it_lost(
    both: Stack, references: References
) -> None:
    async with Load(both, references) as load:
        await load.under_way()
        await in_background(lambda: freeze(load, both))
        lost = held(load, ids_of(both, "worker"))
        await load.finish()
        ended = ends(both, load)
        both.send("worker", signal.SIGCONT)
        load.fault_ended()
        # The frozen one goes on where it was, and hears from its first frame or checkpoint that
        # another has ended the texts.
        await in_background(
            lambda: wait_until(lambda: idle(both), "the frozen one has let go of all", 60)
        )
        result = load.result("F4", held=len(lost))
        after = ends(both, load)
    result.save()
    assert after == ended
    assert lost
    assert {key: row["attempt"] for key, row in load.rows().items()} == {
        key: 2 if key in lost else 1 for key in load.accepted
    }
    assert result.longest_stall <= 15 * GENEROUS


def freeze(load: Load, stack: Stack) -> None:
    """Stop the first worker once it has saved something of what it holds."""
    texts = {key: load.rows()[key]["text"] for key in held(load, ids_of(stack, "worker"))}
    wait_until(
        lambda: any(load.rows()[key]["text"] != texts[key] for key in texts), "a checkpoint", 20
    )
    stack.freeze("worker")


def ends(stack: Stack, load: Load) -> list[dict[str, Any]]:
    """Return everything about the load's generations that a stale writer could change."""
    query = "SELECT id, state, finish_reason, text, error, attempt, finished_at FROM generator_generation ORDER BY id"
    ours = {UUID(key).hex for key in load.accepted}
    return [row for row in stack.rows(query) if row["id"] in ours]


def idle(stack: Stack) -> bool:
    """Tell whether the first worker has said within its last heartbeat that it writes nothing."""
    fresh = "SELECT active_streams FROM generator_worker WHERE pid = ? AND last_seen > datetime('now', '-4 seconds')"
    return [row["active_streams"] for row in stack.rows(fresh, stack.pid("worker"))] == [0]
