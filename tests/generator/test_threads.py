"""Reads that many sockets share: each gets its own row, and none from before it asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from uuid import uuid4

import pytest

from generator import selectors
from generator.models import Generation, Owner
from generator.threads import BATCH, Batched

Make = Callable[..., Generation]


def test_each_owner_gets_their_own_row_and_its_place_in_the_queue(
    make_generation: Make, owner: Owner
) -> None:
    other = Owner(visitor="b" * 32)
    mine, running = make_generation(), make_generation(state="running")
    theirs, last = make_generation(visitor=other.visitor), make_generation()
    asked = [
        (owner, mine.pk),
        (owner, running.pk),
        (owner, theirs.pk),
        (other, theirs.pk),
        (owner, last.pk),
        (owner, uuid4()),
    ]
    found = selectors.watched_rows(asked)
    assert {key: place for key, (_, place) in found.items()} == {
        (owner, mine.pk): 1,
        (owner, running.pk): None,
        (other, theirs.pk): 2,
        (owner, last.pk): 3,
    }
    assert [row.pk for row, _ in found.values()] == [key for _, key in found]


class Table:
    """Records its reads; a test can make one wait."""

    def __init__(self) -> None:
        self.value = 0
        self.reads: list[list[int]] = []
        self.begun, self.open = threading.Event(), threading.Event()
        self.open.set()

    def read(self, keys: list[int]) -> dict[int, int]:
        self.reads.append(keys)
        value = self.value
        self.begun.set()
        assert self.open.wait(5)
        if -1 in keys:
            raise ValueError(keys)
        return {key: value for key in keys if key % 2 == 0}


async def test_questions_asked_together_share_one_read() -> None:
    table = Table()
    rows = Batched(table.read)
    assert await asyncio.gather(*(rows.get(key) for key in (0, 1, 2, 2, 2))) == [0, None, 0, 0, 0]
    assert table.reads == [[0, 1, 2]]
    await asyncio.gather(*(rows.get(key) for key in range(2 * BATCH + 1)))
    assert [len(keys) for keys in table.reads[1:]] == [BATCH, BATCH, 1]


async def test_a_question_asked_during_a_read_is_answered_by_the_next_one() -> None:
    table = Table()
    rows = Batched(table.read)
    table.open.clear()
    first = asyncio.create_task(rows.get(0))
    await asyncio.to_thread(table.begun.wait)
    table.value = 1
    second = asyncio.create_task(rows.get(0))
    await asyncio.sleep(0)
    table.open.set()
    assert (await first, await second) == (0, 1)


async def test_a_cancelled_question_or_a_failed_read_stops_no_other() -> None:
    table = Table()
    rows = Batched(table.read)
    table.open.clear()
    leaving, staying = asyncio.create_task(rows.get(0)), asyncio.create_task(rows.get(0))
    await asyncio.sleep(0)
    leaving.cancel()
    table.open.set()
    assert await staying == 0
    with pytest.raises(ValueError, match="-1"):
        await rows.get(-1)
    assert await rows.get(2) == 0
