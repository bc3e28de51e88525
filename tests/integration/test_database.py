"""What visitors see while the database is locked, and after a query that fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

from tests.integration.admission import Make, ask, assert_sound, counted, known
from tests.stack import wait_until


def test_a_submit_waits_for_a_locked_database_and_is_answered_503_if_the_lock_stays(
    make_stack: Make,
) -> None:
    stack = make_stack("redis", "web")
    visitor = known(stack)
    with ThreadPoolExecutor(1) as thread:
        with stack.locked_database():
            waiting = thread.submit(ask, visitor)
            assert stack.visitor().get("/").status_code == 200  # reading goes on
            time.sleep(3)  # the length of the lock is the test's input
        assert waiting.result().status_code == 201
    with stack.locked_database():
        answer = ask(visitor)
    print(f"\na submit gave up on a locked database after {answer.elapsed.total_seconds():.1f} s")
    assert counted([answer]) == {503: 1}
    assert "database is busy" in answer.text
    assert ask(visitor).status_code == 201
    assert_sound(stack)


async def test_a_query_that_fails_is_logged_with_its_traceback_and_not_reported_as_busy(
    make_stack: Make,
) -> None:
    stack = make_stack("redis", "web")
    visitor = known(stack)
    accepted = visitor.submit()
    async with visitor.socket(accepted["id"]) as open_one:
        assert json.loads(await open_one.recv())["type"] == "snapshot"
        with contextlib.closing(
            sqlite3.connect(stack.data_dir / "db.sqlite3", timeout=20)
        ) as database:
            database.execute("ALTER TABLE generator_generation RENAME COLUMN attempt TO attempts")
        assert [visitor.get(path).status_code for path in ("/history/", accepted["url"])] == [
            500,
            500,
        ]
        assert ask(visitor).status_code == 500
        async with visitor.socket(accepted["id"]) as socket:
            await asyncio.wait_for(socket.wait_closed(), 10)
        assert socket.close_code == 1011
        wait_until(
            lambda: "the quiet check failed" in stack.logs("web", 1000),
            "a socket that was open notices it",
            10,
        )
    log = stack.logs("web", 1000)
    assert log.count("Traceback") >= 5
    assert "no such column: generator_generation.attempt" in log
    assert "busy" not in log
