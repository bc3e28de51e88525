"""A worker takes no more texts than it can write, and only a lost message is sent again."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable
from uuid import UUID

from redis import Redis

from tests.stack import EVERYTHING, Stack, wait_until

QUEUE = "charrnn:generate"
THREADS = 2
ENDLESS = 1_000_000  # characters: none of these texts ends during the test
SETTINGS = {
    "ENGINE_MAX_STREAMS": str(THREADS),
    "GENERATION_MAX_LENGTH": str(ENDLESS),
    "OWNER_MAX_ACTIVE": "20",
}


def in_state(stack: Stack, state: str) -> set[str]:
    return {
        str(UUID(row["id"]))
        for row in stack.rows("SELECT id FROM generator_generation WHERE state = ?", state)
    }


def queued_messages(redis: Redis) -> Counter[str]:
    """Return the number of queued messages for each text."""
    bodies = [base64.b64decode(json.loads(raw)["body"]) for raw in redis.lrange(QUEUE, 0, -1)]
    return Counter(json.loads(body)[0][0] for body in bodies)


def test_texts_that_a_busy_worker_cannot_write_stay_on_the_queue_for_others(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack(*EVERYTHING, **SETTINGS)
    visitor = stack.visitor()
    with Redis.from_url(stack.redis_url) as redis:
        for _ in range(3 * THREADS):
            visitor.submit(length=ENDLESS)
        wait_until(
            lambda: len(in_state(stack, "running")) == THREADS,
            "every thread writes a text",
            20,
        )
        assert queued_messages(redis) == Counter(in_state(stack, "queued"))

        lost = json.loads(base64.b64decode(json.loads(redis.lpop(QUEUE))["body"]))[0][0]
        assert queued_messages(redis) == Counter(in_state(stack, "queued") - {lost})
        wait_until(lambda: queued_messages(redis)[lost], "the lost one is sent again", 20)
        assert queued_messages(redis) == Counter(in_state(stack, "queued")), "only the lost one"

        stack.start("worker-2")
        wait_until(
            lambda: len(in_state(stack, "running")) == 2 * THREADS,
            "the second worker takes queued texts",
            5,
        )
        assert queued_messages(redis) == Counter(in_state(stack, "queued"))

        for generation_id in list(in_state(stack, "running"))[:THREADS]:
            visitor.post(f"/generations/{generation_id}/cancel/")
        wait_until(lambda: not in_state(stack, "queued"), "free threads take the rest", 5)
        wait_until(
            lambda: redis.hlen("charrnn:unacked") == 2 * THREADS,
            "messages of ended texts are confirmed",
            5,
        )
