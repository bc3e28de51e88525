"""F5 to F8: Redis dies or is emptied, and the web process dies, while 16 texts are written."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from functools import partial

import requests
from redis import Redis

from tests.faults.harness import (
    LENGTH,
    LONGEST,
    NO_LIMITS,
    SEEDS,
    Load,
    References,
    asked,
    in_background,
)
from tests.stack import Stack
from tests.visitor import Visitor

GENEROUS = 2
OUTAGE = 5.0  # seconds without Redis
PAGES = 300
STORM = 10.0  # seconds until all pages show the whole text so far


async def test_f5_a_redis_that_comes_back_empty_costs_nothing(
    both: Stack, references: References
) -> None:
    async with Load(both, references, length=LONGEST) as load:
        await load.under_way()
        await in_background(lambda: both.kill("redis"))
        await asyncio.sleep(OUTAGE)
        await in_background(lambda: both.start("redis"))
        load.fault_ended()
        back = time.monotonic()
        after = await load.submit(SEEDS[0])  # Celery works again
        await load.finish()
        result = load.result(
            "F5", **{"stall after restart s": round(max(w.stall(back) for w in load.watchers), 1)}
        )
        attempts = {row["attempt"] for row in load.rows().values()}
    result.save()
    assert after.end
    assert attempts == {1}
    assert max(watcher.stall(back) for watcher in load.watchers) <= 8 * GENEROUS


async def test_f6_without_redis_a_submit_is_kept_or_refused_but_answered(
    both: Stack, references: References
) -> None:
    visitors = [both.visitor() for _ in range(10)]
    for visitor in visitors:
        visitor.get("/")
    async with Load(both, references, count=0) as load:
        await in_background(lambda: both.kill("redis"))
        answers = [await in_background(partial(timed_submit, visitor)) for visitor in visitors]
        accepted = [
            (visitor, answer)
            for visitor, (_, answer) in zip(visitors, answers, strict=True)
            if answer.status_code == 201
        ]
        await in_background(lambda: both.start("redis"))
        load.fault_ended()
        for visitor, answer in accepted:
            load.visitor = visitor
            load.watch(answer.json()["id"], SEEDS[0])
        await load.finish()
        slowest = max(seconds for seconds, _ in answers)
        result = load.result(
            "F6", **{"slowest answer s": round(slowest, 2), "refused": 10 - len(accepted)}
        )
    result.save()
    for _, answer in answers:
        assert answer.status_code == 201 or (
            answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
        )
    assert slowest <= 2 * GENEROUS


def timed_submit(visitor: Visitor) -> tuple[float, requests.Response]:
    began = time.monotonic()
    answer = visitor.ask(**asked(SEEDS[0], LENGTH))
    return time.monotonic() - began, answer


async def test_f7_an_emptied_redis_is_refilled_from_the_rows(
    both: Stack, references: References
) -> None:
    async with Load(both, references) as load:
        await load.under_way()
        with Redis.from_url(both.redis_url) as redis:
            for _ in range(3):
                redis.flushall()
                emptied = time.monotonic()
                load.fault_ended()
                for page in load.watchers[::2]:  # they find no log when they reconnect
                    page.cut()
                await asyncio.sleep(0.3)
        after = await load.submit(SEEDS[0])  # Celery's queues were emptied as well
        await load.finish()
        gap = max(watcher.stall(emptied - 1) for watcher in load.watchers)
        result = load.result("F7", **{"longest gap s": round(gap, 1)})
        attempts = {row["attempt"] for row in load.rows().values()}
    result.save()
    assert after.end
    assert attempts == {1}
    assert gap <= 3 * GENEROUS


async def test_f8_pages_resume_after_the_web_process_was_killed(
    both: Stack, references: References
) -> None:
    async with Load(both, references, length=LONGEST) as load:
        await load.under_way()
        known = [len(watcher.text) for watcher in load.watchers]
        await in_background(lambda: both.stop("web", signal.SIGKILL))
        await asyncio.sleep(2)
        await in_background(lambda: both.start("web"))
        load.fault_ended()
        opened = time.monotonic()
        await load.finish()
        firsts = [
            next(moment for moment, count in watcher.arrivals if count > before) - opened
            for watcher, before in zip(load.watchers, known, strict=True)
        ]
        result = load.result("F8", **{"resumed after s": round(max(firsts), 1)})
        attempts = {row["attempt"] for row in load.rows().values()}
    result.save()
    assert attempts == {1}
    assert all(watcher.reconnects for watcher in load.watchers)
    assert max(firsts) <= 3 * GENEROUS


async def test_f8_three_hundred_pages_that_come_back_at_once_are_back_within_ten_seconds(
    both: Stack, references: References
) -> None:
    room = {
        "OWNER_MAX_SOCKETS": "400",
        "ADDRESS_MAX_SOCKETS": "400",
    }  # for all of them, and not for those of the dead as well
    both.environment.update(room)
    await in_background(lambda: both.restart("web"))
    try:
        async with Load(both, references, length=LONGEST) as load:
            for generation_id, seed in list(load.accepted.items()) * (PAGES // load.count + 1):
                if len(load.watchers) < PAGES:
                    load.watch(generation_id, seed)
            await load.under_way()
            await in_background(lambda: both.kill("web"))
            killed = time.monotonic()
            await in_background(lambda: both.start("web"))  # at once, as supervisord does
            opened = time.monotonic()
            load.fault_ended()
            asking = asyncio.create_task(in_background(lambda: ask_for_pages(both, opened + STORM)))
            await load.finish()
            back = [
                next((moment for moment in page.back if moment > killed), math.inf) - opened
                for page in load.watchers
            ]
            seconds = await asking
            notes = {
                "pages": len(back),
                "back after s": round(max(back), 1),
                "slowest other page s": round(max(seconds), 1),
            }
            result = load.result("F8 storm", **notes)
            refusals = [status for page in load.watchers for status in page.refusals]
    finally:
        both.environment.update({name: NO_LIMITS[name] for name in room})
        await in_background(lambda: both.restart("web"))
    result.accepted = len(back)
    result.save()
    assert refusals == []
    assert max(back) <= STORM * GENEROUS
    assert max(seconds) <= STORM


def ask_for_pages(stack: Stack, until: float) -> list[float]:
    """Open the desk repeatedly as new visitors; return the seconds of each request."""
    seconds = []
    while (begun := time.monotonic()) < until:
        assert stack.visitor().get("/").status_code == 200
        seconds.append(time.monotonic() - begun)
        time.sleep(0.1)
    return seconds
