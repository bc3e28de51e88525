"""Every accepted text is completed although a process dies. tests/faults has the long suite."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
import socket as socket_module
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis import Redis
from websockets.asyncio.client import ClientConnection

from tests.integration.test_stream import export, text_of
from tests.stack import EVERYTHING, Stack, wait_until
from tests.visitor import Visitor, frames_until_end

LENGTH = 20_000
SEED = 99
MakeStack = Callable[..., Stack]
opened: list[ClientConnection] = []


@pytest.fixture(autouse=True)
async def close_sockets() -> AsyncIterator[None]:
    """Close the sockets that `started` opened, in the same event loop."""
    yield
    while opened:
        await opened.pop().close()


def expected_text(stack: Stack, visitor: Visitor) -> str:
    """Return the text of an undisturbed run."""
    generation_id = visitor.submit(length=LENGTH, seed=SEED)["id"]
    wait_until(
        lambda: export(visitor, generation_id)["state"] == "done", "an undisturbed run ends", 60
    )
    text: str = export(visitor, generation_id)["text"]
    return text


async def started(visitor: Visitor, stack: Stack) -> tuple[str, Any, list[dict[str, Any]]]:
    """Return a running generation, an open socket on it, and the frames so far."""
    generation_id = visitor.submit(length=LENGTH, seed=SEED)["id"]
    socket = await visitor.socket(generation_id)
    opened.append(socket)
    frames = [json.loads(await socket.recv())]
    while not text_of(frames):
        frames.append(json.loads(await socket.recv()))
    return generation_id, socket, frames


async def test_a_killed_workers_text_is_finished_by_another(make_stack: MakeStack) -> None:
    stack = make_stack(*EVERYTHING)
    visitor = stack.visitor()
    expected = expected_text(stack, visitor)
    generation_id, socket, frames = await started(visitor, stack)
    stack.kill("worker")
    await asyncio.to_thread(stack.start, "worker")
    frames += await frames_until_end(socket)
    assert text_of(frames) == expected
    row = export(visitor, generation_id)
    assert (row["text"], row["state"], row["attempt"]) == (expected, "done", 2)


async def test_a_page_learns_at_once_that_its_text_is_queued_again(make_stack: MakeStack) -> None:
    stack = make_stack(*EVERYTHING)
    _, socket, _ = await started(stack.visitor(), stack)
    await asyncio.to_thread(stack.stop, "worker", signal.SIGTERM)
    async with asyncio.timeout(2):  # without news, a page is sent its position every five seconds
        while (frame := json.loads(await socket.recv()))["type"] != "alive":
            pass
    assert (frame["state"], frame["queue_position"]) == ("queued", 1)


async def test_a_stopped_worker_saves_its_texts_and_requeues_them(make_stack: MakeStack) -> None:
    stack = make_stack(*EVERYTHING)
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
    stack = make_stack(*EVERYTHING)
    visitor = stack.visitor()
    expected = expected_text(stack, visitor)
    generation_id, socket, frames = await started(visitor, stack)
    await asyncio.to_thread(stack.restart, "redis", signal.SIGKILL)
    frames += await asyncio.wait_for(frames_until_end(socket), 60)
    assert text_of(frames) == expected
    assert export(visitor, generation_id)["attempt"] == 1


async def test_without_redis_a_submit_is_kept_and_written_later(make_stack: MakeStack) -> None:
    stack = make_stack(*EVERYTHING)
    visitor = stack.visitor()
    visitor.get("/")
    stack.kill("redis")
    accepted = await asyncio.to_thread(lambda: visitor.submit(length=100))
    assert export(visitor, accepted["id"])["state"] == "queued"
    await asyncio.to_thread(stack.start, "redis")
    wait_until(
        lambda: export(visitor, accepted["id"])["state"] == "done", "the queued one is written", 60
    )


async def test_writing_continues_while_the_web_process_is_dead(make_stack: MakeStack) -> None:
    stack = make_stack(*EVERYTHING)
    visitor = stack.visitor()
    expected = expected_text(stack, visitor)
    generation_id, _, frames = await started(visitor, stack)
    known = text_of(frames)
    await asyncio.to_thread(stack.restart, "web", signal.SIGKILL)
    rest = await visitor.frames(generation_id, after=len(known))
    assert known + text_of(rest, len(known)) == expected
    assert rest[-1]["sha256"] == hashlib.sha256(expected.encode()).hexdigest()
    assert export(visitor, generation_id)["attempt"] == 1


async def test_without_redis_a_text_is_followed_by_its_row(make_stack: MakeStack) -> None:
    stack = make_stack(*EVERYTHING)
    visitor = stack.visitor()
    expected = expected_text(stack, visitor)
    generation_id, _, _ = await started(visitor, stack)
    stack.kill("redis")
    frames = await asyncio.wait_for(visitor.frames(generation_id), 60)
    assert text_of(frames) == expected
    assert frames[-1]["state"] == "done"


async def test_a_frozen_worker_that_claims_its_own_text_again_still_obeys_a_cancel(
    make_stack: MakeStack,
) -> None:
    stack = make_stack(*EVERYTHING)
    visitor = stack.visitor()
    expected = expected_text(stack, visitor)
    done, _, _ = await started(visitor, stack)
    cancelled = visitor.submit(length=LENGTH, seed=1)["id"]
    # Right after a save: a process that is stopped inside a transaction would keep SQLite
    # locked for everybody.
    wait_until(lambda: export(visitor, cancelled)["text"], "the text is saved", 20)
    stack.freeze("worker")
    wait_until(lambda: export(visitor, done)["state"] == "queued", "housekeeping gives it back", 40)
    await asyncio.to_thread(lambda: visitor.post(f"/generations/{cancelled}/cancel/"))
    stack.send("worker", signal.SIGCONT)
    assert text_of(await visitor.frames(done)) == expected
    assert (await visitor.frames(cancelled))[-1]["state"] == "cancelled"
    assert "Traceback" not in stack.logs("worker", 500)


async def test_a_silent_registry_does_not_delay_recovery(make_stack: MakeStack) -> None:
    with socket_module.create_server(("127.0.0.1", 0)) as silent:
        stack = make_stack(
            *EVERYTHING, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        visitor = stack.visitor()
        generation_id, socket, frames = await started(visitor, stack)
        stack.kill("worker")
        await asyncio.to_thread(stack.start, "worker")
        frames += await asyncio.wait_for(frames_until_end(socket), 60)
    assert len(text_of(frames)) == LENGTH
    assert export(visitor, generation_id)["attempt"] == 2


async def test_a_cancel_after_the_worker_died_keeps_all_text_that_was_shown(
    make_stack: MakeStack,
) -> None:
    stack = make_stack(*EVERYTHING)
    visitor = stack.visitor()
    generation_id, socket, frames = await started(visitor, stack)
    stack.kill("worker")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while True:
                frames.append(json.loads(await socket.recv()))
    wait_until(
        lambda: export(visitor, generation_id)["state"] == "queued",
        "housekeeping gives it back",
        40,
    )
    await socket.send('{"type": "cancel"}')
    frames += await frames_until_end(socket)
    assert frames[-1]["state"] == "cancelled"
    assert export(visitor, generation_id)["text"] == text_of(frames)
    assert frames[-1]["length"] == len(text_of(frames))


async def test_closed_sockets_leave_no_subscriptions_in_redis(make_stack: MakeStack) -> None:
    stack = make_stack("redis", "web", OWNER_MAX_SOCKETS="100")
    visitor = stack.visitor()
    ids = [visitor.submit(length=100)["id"] for _ in range(3)]
    with Redis.from_url(stack.redis_url) as redis:

        async def open_and_leave(number: int) -> None:
            async with visitor.socket(ids[number % 3]) as socket:
                await socket.recv()
                if number % 2:
                    socket.transport.abort()

        for _ in range(5):
            await asyncio.gather(*(open_and_leave(number) for number in range(20)))
        left = "only the subscription that the web process keeps is left"
        wait_until(lambda: len(redis.pubsub_channels("charrnn*")) == 1, left, 20)
    assert "Traceback" not in stack.logs("web", 500)
