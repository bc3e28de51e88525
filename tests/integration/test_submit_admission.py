"""Limits on submits hold under parallel requests, and every refusal says when to try again."""

from __future__ import annotations

import asyncio

from tests.integration.admission import (
    AT_ONCE,
    Make,
    ask,
    ask_at_once,
    assert_sound,
    counted,
    known,
)
from tests.stack import EVERYTHING, wait_until


def test_of_200_submits_at_once_exactly_the_limit_per_minute_is_accepted(make_stack: Make) -> None:
    stack = make_stack(*EVERYTHING, OWNER_MAX_ACTIVE="1000", OWNER_SUBMITS_PER_MINUTE="31")
    visitor = known(stack)
    answers = ask_at_once([visitor], AT_ONCE)
    seconds = sorted(answer.elapsed.total_seconds() for answer in answers)
    print(
        f"\n{AT_ONCE} submits at once: half within {seconds[AT_ONCE // 2]:.2f} s,",
        f"all within {seconds[-1]:.2f} s",
    )
    assert counted(answers) == {201: 30, 429: AT_ONCE - 30}
    assert_sound(stack)
    other = stack.visitor()
    assert asyncio.run(other.frames(other.submit(length=50)["id"]))[-1]["state"] == "done"
    done = "SELECT count(*) AS n FROM generator_generation WHERE state = 'done'"
    wait_until(lambda: stack.rows(done)[0]["n"] == 32, "every accepted text is written")


def test_of_200_submits_at_once_no_more_than_the_limit_of_active_texts_is_accepted(
    make_stack: Make,
) -> None:
    stack = make_stack("redis", "web")  # nothing is written, so nothing ends
    visitor = stack.visitor()
    visitor.submit()
    assert counted(ask_at_once([visitor], AT_ONCE)) == {201: 3, 429: AT_ONCE - 3}
    assert_sound(stack)
    stack.start("worker", "housekeeping", "beat")
    wait_until(
        lambda: not stack.rows("SELECT 1 FROM generator_generation WHERE state != 'done'"),
        "the four that were accepted end",
    )
    assert ask(visitor).status_code == 201


def test_refused_submits_do_not_count_towards_the_limit_of_an_address(make_stack: Make) -> None:
    stack = make_stack(
        "redis", "web", OWNER_MAX_ACTIVE="10", ADDRESS_SUBMITS_PER_MINUTE="41", TRUSTED_PROXIES="1"
    )
    greedy = stack.visitor()
    greedy.submit()
    assert counted(ask_at_once([greedy], 60)) == {201: 9, 429: 51}
    class_room = [known(stack) for _ in range(10)]
    assert counted(ask_at_once(class_room, 6)) == {201: 21, 429: 39}
    refused = ask(class_room[0])
    assert "your network" in refused.json()["errors"]["__all__"][0]
    assert ask(class_room[0], **{"X-Forwarded-For": "203.0.113.9"}).status_code == 201
    assert_sound(stack)


def test_a_full_queue_is_answered_503_and_accepted_texts_are_written(make_stack: Make) -> None:
    stack = make_stack("redis", "web", QUEUE_MAX_LENGTH="20")
    visitors = [stack.visitor() for _ in range(30)]
    assert counted(ask_at_once(visitors, 1)) == {201: 20, 503: 10}
    assert_sound(stack)
    stack.start("worker", "housekeeping", "beat")
    done = (
        "SELECT count(*) AS n FROM generator_generation WHERE state = 'done' AND length(text) = 50"
    )
    wait_until(lambda: stack.rows(done)[0]["n"] == 20, "the twenty that were accepted are written")
    assert ask(visitors[0]).status_code == 201


def test_without_redis_only_the_limits_of_owners_hold(make_stack: Make) -> None:
    stack = make_stack("redis", "web", OWNER_SUBMITS_PER_MINUTE="3", ADDRESS_SUBMITS_PER_MINUTE="2")
    first = known(stack)
    assert counted([ask(first) for _ in range(2)]) == {201: 1, 429: 1}
    stack.kill("redis")
    assert counted([ask(first) for _ in range(3)]) == {201: 1, 429: 2}
    assert_sound(stack)
