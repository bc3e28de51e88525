"""F1 to F4: workers are killed, stopped, missing and frozen while 16 texts are written."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from functools import partial
from typing import Any
from uuid import UUID

from tests.faults.harness import TWO_WORKERS, Load, References, in_background, whole
from tests.stack import Stack, wait_until

GENEROUS = 2  # factor on the documented limits, which hold for an idle machine
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
    """Return the ids under which a worker process claims generations."""
    return {
        row["id"]
        for row in stack.rows("SELECT id FROM generator_worker WHERE pid = ?", stack.pid(name))
    }


def held(load: Load, workers: set[str]) -> set[str]:
    """Return the load's running generations that belong to `workers`, dead or alive."""
    return {
        key
        for key, row in load.rows().items()
        if row["state"] == "running" and row["worker_id"] in workers
    }


async def test_f2_a_worker_that_is_told_to_stop_saves_and_requeues_all_its_texts(
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
    # Includes the start of a process, which takes seconds on a busy machine.
    assert result.longest_stall <= 6 * 2 * GENEROUS


async def test_f3_without_any_worker_pages_show_their_position_in_the_queue(
    both: Stack, references: References
) -> None:
    async with Load(both, references) as load:
        await load.under_way()
        for name in WORKERS:
            await in_background(partial(both.kill, name))
        await in_background(
            lambda: wait_until(
                lambda: all_told(load), "every page shows its position in the queue", 60
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
    """Tell whether all waiting texts are queued again and their pages show distinct positions."""
    waiting = [page for page in load.watchers if page.end is None]
    given_back = [row for row in load.rows().values() if row["state"] == "queued"]
    return (
        len(waiting)
        == len(given_back)
        == len({page.positions[-1] for page in waiting if page.positions})
    )


async def test_f4_a_frozen_worker_that_continues_does_not_write_to_texts_it_lost(
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
        # The worker continues where it was frozen, and learns from its first frame or save
        # that another has ended the texts.
        await in_background(
            lambda: wait_until(lambda: idle(both), "the frozen worker has released all texts", 60)
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
    """Freeze the first worker right after it saved its texts."""
    texts = {key: load.rows()[key]["text"] for key in held(load, ids_of(stack, "worker"))}
    wait_until(
        lambda: any(load.rows()[key]["text"] != texts[key] for key in texts),
        "the text is saved",
        20,
    )
    stack.freeze("worker")


def ends(stack: Stack, load: Load) -> list[dict[str, Any]]:
    """Return everything about the load's generations that a stale writer could change."""
    columns = "id, state, finish_reason, text, error, attempt, finished_at"
    query = f"SELECT {columns} FROM generator_generation ORDER BY id"
    ours = {UUID(key).hex for key in load.accepted}
    return [row for row in stack.rows(query) if row["id"] in ours]


def idle(stack: Stack) -> bool:
    """Tell whether the first worker's last heartbeat reports no active streams."""
    fresh = (
        "SELECT active_streams FROM generator_worker"
        " WHERE pid = ? AND last_seen > datetime('now', '-4 seconds')"
    )
    return [row["active_streams"] for row in stack.rows(fresh, stack.pid("worker"))] == [0]
