"""F15, F17 and F18: lost replies, visitors who leave, a database that is busy or unavailable."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.environment import isolated_environment, manage
from tests.faults.harness import (
    LENGTH,
    LONGEST,
    NO_LIMITS,
    SEEDS,
    Load,
    References,
    Result,
    asked,
)
from tests.faults.postgres import PostgresServer, PostgresStack
from tests.integration.test_stream import export
from tests.proxy import Proxy
from tests.stack import EVERYTHING, Stack, wait_until
from tests.visitor import Visitor

LOCKS = {"SQLite 5 s": 5.0, "SQLite 22 s": 22.0}  # a request waits for less than 22 seconds
WAIT = 20.0  # seconds; settings.DATABASES


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The short form locks SQLite for 5 s; the full form also for 22 s, and stops PostgreSQL."""
    if "trouble" in metafunc.fixturenames:
        full = metafunc.config.getoption("--faults") == "full"
        metafunc.parametrize("trouble", [*LOCKS, "PostgreSQL"] if full else list(LOCKS)[:1])


def unanswered(visitor: Visitor, **parameters: Any) -> None:
    """Submit, and expect the connection to break before the reply."""
    with pytest.raises(requests.ConnectionError):
        visitor.ask(**parameters)


@pytest.mark.parametrize("known", [False, True], ids=["first text", "later text"])
def test_f15_a_form_that_is_sent_again_makes_one_text(
    both: Stack, references: References, known: bool
) -> None:
    with Proxy(both.port) as proxy:
        visitor = Visitor(proxy.url)
        visitor.get("/")
        if known:
            visitor.submit(length=1)
        form = asked(SEEDS[0], 300, client_key=uuid.uuid4().hex)
        proxy.loses_replies = True
        for _ in range(2):
            unanswered(visitor, **form)
        proxy.loses_replies = False
        accepted = [visitor.submit(**form)["id"] for _ in range(2)]
        wait_until(lambda: export(visitor, accepted[0])["state"] == "done", "the text is written")
        text = export(visitor, accepted[0])["text"]
    made = both.rows("SELECT id FROM generator_generation WHERE client_key = ?", form["client_key"])
    wrong = len(made) - 1 + len(set(accepted)) - 1 + (text != references.text(SEEDS[0], 300))
    Result(
        f"F15 {'later' if known else 'first'}",
        1,
        1,
        0,
        wrong,
        0,
        0.0,
        None,
        notes={"sent": 4, "made": len(made)},
    ).save()


async def test_f17_a_visitor_who_leaves_finds_the_text_in_the_history(
    both: Stack, references: References
) -> None:
    visitor = both.visitor()
    form = asked(SEEDS[0], LENGTH)
    ids = [(await asyncio.to_thread(lambda: visitor.submit(**form)))["id"] for _ in range(4)]
    for one in ids[1:]:  # the first is not opened for a while
        async with visitor.socket(one) as socket:
            await socket.recv()
            socket.transport.abort()
    await asyncio.to_thread(
        wait_until,
        lambda: all(export(visitor, one)["state"] == "done" for one in ids),
        "all have ended",
    )
    history = visitor.get("/history/").text
    expected = references.text(SEEDS[0], LENGTH)
    wrong = sum(
        export(visitor, one)["text"] != expected or f"/generations/{one}/" not in history
        for one in ids
    )
    Result("F17", len(ids), len(ids) - wrong, 0, wrong, 0, 0.0, None).save()


@contextlib.contextmanager
def away(server: PostgresServer) -> Iterator[None]:
    """Stop the database server, and start it again at the end."""
    server.stop()
    yield
    server.start()


def submit_until_accepted(visitor: Visitor, seed: int, length: int) -> tuple[str, int]:
    """Send a form until it is accepted; return the id and the number of refusals."""
    form = asked(seed, length, client_key=uuid.uuid4().hex)
    for refused in range(20):
        answer = visitor.ask(**form)
        if answer.status_code == 201:
            return answer.json()["id"], refused
        assert answer.status_code == 503, answer.text[:500]
        time.sleep(int(answer.headers["Retry-After"]))
    raise AssertionError("never accepted")


def tracebacks(stack: Stack) -> int:
    """Return the number of tracebacks in the logs."""
    return sum(
        log.read_text(errors="replace").count("Traceback")
        for log in (stack.data_dir / "logs").glob("*.log")
    )


async def write_through(
    stack: Stack,
    references: References,
    name: str,
    trouble: AbstractContextManager[None],
    seconds: float,
) -> None:
    """Write 16 texts and submit 5 more while the database has a fault for some seconds."""
    before = tracebacks(stack)
    async with Load(stack, references, length=LONGEST // 2) as load:
        await load.under_way()
        visitors = [load.visitor.twin() for _ in range(5)]
        with trouble:
            accepted = asyncio.gather(
                *(
                    asyncio.to_thread(submit_until_accepted, visitor, SEEDS[0], load.length)
                    for visitor in visitors
                )
            )
            await asyncio.sleep(seconds)
        load.fault_ended()
        refused = 0
        for generation_id, times in await accepted:
            load.watch(generation_id, SEEDS[0])
            refused += times
        await load.finish()
        load.result(
            f"F18 {name}",
            submitted=len(visitors),
            refused=refused,
            tracebacks=tracebacks(stack) - before,
        ).save()
    assert tracebacks(stack) == before
    assert bool(refused) == (name != next(iter(LOCKS)))


async def test_f18_a_database_that_is_busy_or_away(
    trouble: str, both: Stack, references: References, tmp_path: Path
) -> None:
    if trouble in LOCKS:
        await write_through(both, references, trouble, both.locked_database(), LOCKS[trouble])
        return
    with PostgresServer() as server:
        server.start()
        settings = {**NO_LIMITS, "DATABASE_URL": server.url}
        await asyncio.to_thread(manage, isolated_environment(tmp_path, settings), "prestart")
        with PostgresStack(tmp_path, settings) as stack:
            await asyncio.to_thread(stack.start, *EVERYTHING)
            await write_through(stack, references, trouble, away(server), 2.0)
            with away(server):
                pass  # without requests, nothing notices that all connections are broken
            assert [stack.visitor().get("/history/").status_code for _ in range(20)] == [200] * 20
