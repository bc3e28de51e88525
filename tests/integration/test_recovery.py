"""What is accepted ends with its own text, whatever dies on the way. Single faults; the long suite is tests/faults."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
from collections.abc import Callable
from typing import Any

from tests.integration.test_stream import export, text_of
from tests.stack import Stack, Visitor, frames_until_end, wait_until

LENGTH = 20_000
SEED = 99
MakeStack = Callable[..., Stack]


def expected_text(stack: Stack, visitor: Visitor) -> str:
    """Return what an undisturbed run writes."""
    generation_id = visitor.submit(length=LENGTH, seed=SEED)["id"]
    wait_until(lambda: export(visitor, generation_id)["state"] == "done", "an undisturbed run ends", 60)
    text: str = export(visitor, generation_id)["text"]
    return text


async def started(visitor: Visitor, stack: Stack) -> tuple[str, Any, list[dict[str, Any]]]:
    """Return a running generation, an open socket on it, and the frames so far."""
    generation_id = visitor.submit(length=LENGTH, seed=SEED)["id"]
    socket = await visitor.socket(generation_id)
    frames = [json.loads(await socket.recv())]
    while not text_of(frames):
        frames.append(json.loads(await socket.recv()))
    return generation_id, socket, frames


async def test_a_killed_workers_text_is_finished_by_another(make_stack: MakeStack) -> None:
    stack = make_stack("redis", "worker", "housekeeping", "web")
    visitor = stack.visitor()
    expected = expected_text(stack, visitor)
    generation_id, socket, frames = await started(visitor, stack)
    stack.kill("worker")
    await asyncio.to_thread(stack.start, "worker")
    frames += await frames_until_end(socket)
    assert text_of(frames) == expected
    row = export(visitor, generation_id)
    assert (row["text"], row["state"], row["attempt"]) == (expected, "done", 2)


async def test_a_stopped_worker_saves_and_gives_back_what_it_held(make_stack: MakeStack) -> None:
    stack = make_stack("redis", "worker", "housekeeping", "web")
    visitor = stack.visitor()
    expected = expected_text(stack, visitor)
    generation_id, socket, frames = await started(visitor, stack)
    assert await asyncio.to_thread(stack.stop, "worker", signal.SIGTERM) == 0
    row = export(visitor, generation_id)
    assert row["state"] == "queued"
    assert expected.startswith(row["text"])
    assert row["text"]
    await asyncio.to_thread(stack.start, "worker")
    frames += await frames_until_end(socket)
    assert text_of(frames) == expected


async def test_a_redis_that_comes_back_empty_costs_no_character(make_stack: MakeStack) -> None:
    stack = make_stack("redis", "worker", "housekeeping", "web")
    visitor = stack.visitor()
    expected = expected_text(stack, visitor)
    generation_id, socket, frames = await started(visitor, stack)
    await asyncio.to_thread(stack.restart, "redis", signal.SIGKILL)
    frames += await asyncio.wait_for(frames_until_end(socket), 60)
    assert text_of(frames) == expected
    assert export(visitor, generation_id)["attempt"] == 1


async def test_without_redis_a_submit_is_kept_and_written_later(make_stack: MakeStack) -> None:
    stack = make_stack("redis", "worker", "housekeeping", "web")
    visitor = stack.visitor()
    visitor.get("/")
    stack.kill("redis")
    accepted = await asyncio.to_thread(lambda: visitor.submit(length=100))
    assert export(visitor, accepted["id"])["state"] == "queued"
    await asyncio.to_thread(stack.start, "redis")
    wait_until(lambda: export(visitor, accepted["id"])["state"] == "done", "the queued one is written", 60)


async def test_a_web_process_that_dies_is_not_noticed_by_the_writing(make_stack: MakeStack) -> None:
    stack = make_stack("redis", "worker", "housekeeping", "web")
    visitor = stack.visitor()
    expected = expected_text(stack, visitor)
    generation_id, _, frames = await started(visitor, stack)
    known = text_of(frames)
    await asyncio.to_thread(stack.restart, "web", signal.SIGKILL)
    rest = await visitor.frames(generation_id, after=len(known))
    assert known + text_of(rest, len(known)) == expected
    assert rest[-1]["sha256"] == hashlib.sha256(expected.encode()).hexdigest()
    assert export(visitor, generation_id)["attempt"] == 1
