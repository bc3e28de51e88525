"""Invalid messages on a queue or the channel layer are logged in one line each and dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from channels_redis.serializers import registry
from redis import Redis

from tests.integration.test_stream import export, text_of
from tests.junk import GENERATE, HOUSEKEEPING, NO_UUID, junk, layer_junk, odd
from tests.stack import Stack, wait_until
from tests.visitor import frames_until_end

PREFIX = "charrnn:"


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    with Redis.from_url(stack.redis_url) as client:
        yield client


def lines(stack: Stack, name: str) -> list[str]:
    return (stack.data_dir / "logs" / f"{name}.log").read_text(errors="replace").splitlines()


def nothing_left(redis: Redis) -> bool:
    """Tell whether all queues are empty and no message waits for its confirmation."""
    queues = [
        redis.llen(key)
        for key in redis.keys(f"{PREFIX}{GENERATE}*") + redis.keys(f"{PREFIX}{HOUSEKEEPING}*")
    ]
    return not any([*queues, redis.hlen(f"{PREFIX}unacked"), redis.zcard(f"{PREFIX}unacked_index")])


def test_junk_on_the_generate_queue_is_logged_and_the_next_text_is_written(
    stack: Stack, redis: Redis
) -> None:
    visitor, pid = stack.visitor(), stack.pid("worker")
    known = len(lines(stack, "worker"))
    table = junk(GENERATE) | {"an id that is no UUID": NO_UUID}
    for number, (name, raw) in enumerate(table.items(), 1):
        redis.lpush(f"{PREFIX}{GENERATE}", raw)
        good = visitor.submit(length=1)["id"]
        wait_until(
            lambda good=good: export(visitor, good)["state"] == "done",
            f"a text is written after {name}",
            10,
        )
        new = lines(stack, "worker")[known:]
        assert sum("rejected" in line for line in new) == number, name
    assert not [
        line
        for line in lines(stack, "worker")[known:]
        if "Traceback" in line or line.startswith(" ")
    ]
    assert stack.is_running("worker")
    assert stack.pid("worker") == pid
    wait_until(lambda: nothing_left(redis), "nothing is kept that could come back", 10)


def test_junk_on_lists_of_other_priorities_is_rejected_too(stack: Stack, redis: Redis) -> None:
    known = len(lines(stack, "worker"))
    redis.lpush(f"{PREFIX}{GENERATE}\x06\x163", b"42")
    wait_until(
        lambda: any("rejected" in line for line in lines(stack, "worker")[known:]),
        "it is rejected",
        10,
    )


@pytest.mark.parametrize(("name", "queue"), [("worker", GENERATE), ("housekeeping", HOUSEKEEPING)])
def test_a_key_of_another_type_in_a_queues_place_is_removed(
    stack: Stack, redis: Redis, name: str, queue: str
) -> None:
    pid, known = stack.pid(name), len(lines(stack, name))
    for number, key in enumerate((queue, f"{queue}\x06\x163"), 1):
        redis.set(f"{PREFIX}{key}", "42")
        wait_until(
            lambda number=number: rejected_since(stack, name, known) == number,
            f"{key!r} is removed",
            10,
        )
    visitor = stack.visitor()
    good = visitor.submit(length=1)["id"]
    wait_until(lambda: export(visitor, good)["state"] == "done", "a text is written", 15)
    assert not [
        line for line in lines(stack, name)[known:] if "Traceback" in line or line.startswith(" ")
    ]
    assert stack.is_running(name)
    assert stack.pid(name) == pid


def test_odd_fields_of_a_valid_message_have_no_effect(stack: Stack, redis: Redis) -> None:
    known = len(lines(stack, "worker"))
    redis.lpush(f"{PREFIX}{GENERATE}", *odd(GENERATE).values())
    wait_until(lambda: nothing_left(redis), "all are taken", 10)
    visitor = stack.visitor()
    good = visitor.submit(length=1)["id"]
    wait_until(lambda: export(visitor, good)["state"] == "done", "a text is written", 10)
    assert not [
        line
        for line in lines(stack, "worker")[known:]
        if "Traceback" in line or line.startswith(" ")
    ]


def test_junk_on_the_housekeeping_queue_is_logged_and_housekeeping_continues(
    stack: Stack, redis: Redis
) -> None:
    pid, known = stack.pid("housekeeping"), len(lines(stack, "housekeeping"))
    table = junk(HOUSEKEEPING)
    redis.lpush(f"{PREFIX}{HOUSEKEEPING}", *table.values(), *odd(HOUSEKEEPING).values())

    def rejected() -> bool:
        return sum("rejected" in line for line in lines(stack, "housekeeping")[known:]) == len(
            table
        )

    wait_until(rejected, "each is rejected in a line", 20)
    seen = stack.rows("SELECT last_seen FROM generator_worker WHERE role = 'housekeeping'")
    wait_until(
        lambda: (
            stack.rows("SELECT last_seen FROM generator_worker WHERE role = 'housekeeping'") != seen
        ),
        "it goes on",
        10,
    )
    assert not [
        line
        for line in lines(stack, "housekeeping")[known:]
        if "Traceback" in line or line.startswith(" ")
    ]
    assert stack.is_running("housekeeping")
    assert stack.pid("housekeeping") == pid
    wait_until(lambda: nothing_left(redis), "nothing is kept that could come back", 10)


def rejected_since(stack: Stack, name: str, known: int) -> int:
    return sum("rejected" in line for line in lines(stack, name)[known:])


def test_junk_among_the_cancels_is_logged_and_the_next_cancel_works(
    stack: Stack, redis: Redis
) -> None:
    visitor, known, table = stack.visitor(), len(lines(stack, "worker")), layer_junk()
    for raw in table.values():
        redis.publish("charrnn__group__workers", raw)
    wait_until(
        lambda: rejected_since(stack, "worker", known) == len(table),
        "each is rejected in a line",
        10,
    )
    running = visitor.submit(length=20_000)["id"]
    wait_until(lambda: export(visitor, running)["state"] == "running", "it is written", 10)
    # Straight to the worker: the row has no cancel that saving could find.
    message = registry.get_serializer("msgpack").serialize(
        {"type": "generation.cancel", "id": running}
    )
    redis.publish("charrnn__group__workers", message)
    wait_until(lambda: export(visitor, running)["state"] == "cancelled", "the worker listens", 10)
    assert not [
        line
        for line in lines(stack, "worker")[known:]
        if "Traceback" in line or line.startswith(" ")
    ]


async def test_junk_among_the_frames_is_logged_and_the_page_gets_the_whole_text(
    stack: Stack, redis: Redis
) -> None:
    visitor, known, table = stack.visitor(), len(lines(stack, "web")), layer_junk()
    generation_id = visitor.submit(length=4_000)["id"]
    async with visitor.socket(generation_id) as socket:
        first = json.loads(await socket.recv())
        for raw in table.values():
            redis.publish(f"charrnn__group__generation.{generation_id.replace('-', '')}", raw)
        frames = [first, *await frames_until_end(socket)]
    assert text_of(frames) == export(visitor, generation_id)["text"]
    wait_until(
        lambda: rejected_since(stack, "web", known) == len(table), "each is rejected in a line", 10
    )
    assert not [
        line for line in lines(stack, "web")[known:] if "Traceback" in line or line.startswith(" ")
    ]
