"""Doors that stay shut: every limit holds under parallel requests, says when to come back, and harms nothing that was let in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from redis import Redis
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.stack import EVERYTHING, Stack, wait_until
from tests.visitor import Visitor

Make = Callable[..., Stack]
AT_ONCE = 200


def ask(visitor: Visitor, **headers: str) -> requests.Response:
    """Submit over a connection of its own, as a page that was opened many times would."""
    token = {"X-CSRFToken": visitor.token, "Origin": visitor.base_url, "Accept": "application/json"}
    with requests.Session() as http:
        http.trust_env = False
        return http.post(
            f"{visitor.base_url}/generations/",
            {"prompt": "It was", "length": 50},
            headers={**token, **headers},
            cookies=visitor.http.cookies.get_dict(),
            timeout=60,
        )


def ask_at_once(visitors: list[Visitor], times: int) -> list[requests.Response]:
    """Submit so often as each of the visitors, all at the same time."""
    for visitor in visitors:
        visitor.get("/")  # brings the token
    with ThreadPoolExecutor(times * len(visitors)) as threads:
        return list(threads.map(ask, visitors * times))


def known(stack: Stack) -> Visitor:
    """Return a visitor who has a session, because something of theirs was accepted."""
    visitor = stack.visitor()
    visitor.submit(length=1)
    return visitor


def counted(answers: list[requests.Response]) -> dict[int, int]:
    """Return how many answers there are of each status; a refusal that does not say when to come back fails."""
    for answer in answers:
        if answer.status_code != 201:
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert answer.json()["errors"]["__all__"][0].endswith(".")
    return dict(Counter(answer.status_code for answer in answers))


def assert_sound(stack: Stack) -> None:
    """Fail unless nothing broke, and a good request works right after."""
    assert "Traceback" not in stack.logs("web", 100_000)
    assert stack.visitor().get("/").status_code == 200
    assert stack.is_running("web")


def test_of_200_submits_at_once_exactly_the_limit_of_a_minute_is_accepted(make_stack: Make) -> None:
    stack = make_stack(*EVERYTHING, OWNER_MAX_ACTIVE="1000", OWNER_SUBMITS_PER_MINUTE="31")
    visitor = known(stack)
    answers = ask_at_once([visitor], AT_ONCE)
    slowest, middle = (
        max(a.elapsed for a in answers),
        sorted(a.elapsed for a in answers)[AT_ONCE // 2],
    )
    print(
        f"\n{AT_ONCE} submits at once: half within {middle.total_seconds():.2f} s, all within {slowest.total_seconds():.2f} s"
    )
    assert counted(answers) == {201: 30, 429: AT_ONCE - 30}
    assert_sound(stack)
    other = stack.visitor()
    assert asyncio.run(other.frames(other.submit(length=50)["id"]))[-1]["state"] == "done"
    wait_until(
        lambda: (
            [
                row["n"]
                for row in stack.rows(
                    "SELECT count(*) AS n FROM generator_generation WHERE state = 'done'"
                )
            ]
            == [32]
        ),
        "every accepted text is written",
    )


def test_of_200_submits_at_once_only_those_that_may_be_under_way_are_accepted(
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


def test_an_address_has_a_limit_of_its_own_that_refusals_do_not_use_up(make_stack: Make) -> None:
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


def test_a_full_queue_is_503_and_what_was_accepted_is_written(make_stack: Make) -> None:
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


def test_without_redis_addresses_are_let_in_and_the_limits_of_rows_hold(make_stack: Make) -> None:
    stack = make_stack("redis", "web", OWNER_SUBMITS_PER_MINUTE="3", ADDRESS_SUBMITS_PER_MINUTE="2")
    first = known(stack)
    assert counted([ask(first) for _ in range(2)]) == {201: 1, 429: 1}
    stack.kill("redis")
    assert counted([ask(first) for _ in range(3)]) == {201: 1, 429: 2}
    assert_sound(stack)


@contextlib.contextmanager
def write_lock(stack: Stack) -> Iterator[None]:
    """Hold the database's write lock, as a long transaction of another process would."""
    with contextlib.closing(
        sqlite3.connect(stack.data_dir / "db.sqlite3", timeout=20, isolation_level=None)
    ) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


def test_a_locked_database_is_waited_for_and_then_answered_503(make_stack: Make) -> None:
    stack = make_stack("redis", "web")
    visitor = known(stack)
    with ThreadPoolExecutor(1) as thread:
        with write_lock(stack):
            waiting = thread.submit(ask, visitor)
            assert stack.visitor().get("/").status_code == 200  # reading goes on
            time.sleep(3)  # the length of the lock is what is tested
        assert waiting.result().status_code == 201
    with write_lock(stack):
        answer = ask(visitor)
    print(f"\na submit gave up on a locked database after {answer.elapsed.total_seconds():.1f} s")
    assert counted([answer]) == {503: 1}
    assert "database is busy" in answer.text
    assert ask(visitor).status_code == 201
    assert_sound(stack)


async def test_a_fault_in_a_query_is_an_error_with_its_traceback_and_not_called_busy(
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


Open = Callable[[Visitor, str], Awaitable[ClientConnection | None]]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """A function that returns an open socket, or None when the server closed it with 4429."""
    sockets: list[ClientConnection] = []

    async def open_one(visitor: Visitor, generation_id: str) -> ClientConnection | None:
        socket = await visitor.socket(generation_id)
        sockets.append(socket)
        try:
            assert json.loads(await socket.recv())["type"] == "snapshot"
        except ConnectionClosed:
            assert socket.close_code == 4429
            return None
        return socket

    yield open_one
    await asyncio.gather(*(socket.close() for socket in sockets))


async def until_opened(
    opened: Open, visitor: Visitor, generation_id: str, patience: float
) -> ClientConnection:
    async with asyncio.timeout(patience):
        while True:
            if socket := await opened(visitor, generation_id):
                return socket
            await asyncio.sleep(0.2)


async def test_sockets_of_a_visitor_are_limited_and_places_come_back(
    make_stack: Make, opened: Open
) -> None:
    stack = make_stack("redis", "web", OWNER_MAX_SOCKETS="5", ADDRESS_MAX_SOCKETS="7")
    visitor, other = stack.visitor(), stack.visitor()
    mine, theirs = visitor.submit()["id"], other.submit()["id"]

    sockets = [
        socket
        for socket in await asyncio.gather(*(opened(visitor, mine) for _ in range(30)))
        if socket
    ]
    assert len(sockets) == 5
    others = [
        socket
        for socket in await asyncio.gather(*(opened(other, theirs) for _ in range(4)))
        if socket
    ]
    assert len(others) == 2, "the address has two more"

    await others[0].close()
    others[0] = await until_opened(opened, other, theirs, 5)
    await sockets[0].close()
    sockets[0] = await until_opened(opened, visitor, mine, 5)
    assert await opened(visitor, mine) is None

    with Redis.from_url(stack.redis_url) as client:
        client.flushall()  # places are renewed in it
        wait_until(
            lambda: sum(client.zcard(key) for key in client.keys("charrnn:sockets:visitor:*")) == 7,
            "renewed",
            15,
        )
    assert await opened(visitor, mine) is None
    assert_sound(stack)


async def test_a_killed_web_process_takes_its_places_along_and_another_one_does_not(
    make_stack: Make, opened: Open
) -> None:
    stack = make_stack("redis", "web", OWNER_MAX_SOCKETS="3")
    visitor = stack.visitor()
    generation_id = visitor.submit()["id"]
    assert None not in [await opened(visitor, generation_id) for _ in range(2)]
    with Redis.from_url(
        stack.redis_url
    ) as client:  # a place that a web process of another machine gave away
        [key] = client.keys("charrnn:sockets:visitor:*")
        client.zadd(key, {"elsewhere:8000|1|1": time.time() * 1000})
        client.hset("charrnn:seats", "elsewhere:8000", "1")
    assert await opened(visitor, generation_id) is None
    await asyncio.to_thread(stack.kill, "web")
    stack.start("web")
    assert None not in [await opened(visitor, generation_id) for _ in range(2)], (
        "they came back sooner than a lease ends"
    )
    assert await opened(visitor, generation_id) is None, (
        "and the other machine's place still counts"
    )


async def test_without_redis_sockets_are_not_limited(make_stack: Make, opened: Open) -> None:
    stack = make_stack("redis", "web", OWNER_MAX_SOCKETS="2")
    visitor = stack.visitor()
    generation_id = visitor.submit()["id"]
    stack.kill("redis")
    assert None not in [await opened(visitor, generation_id) for _ in range(3)]


async def test_a_socket_may_come_from_an_origin_named_with_a_star(make_stack: Make) -> None:
    stack = make_stack("redis", "web", CSRF_TRUSTED_ORIGINS="https://*.example.org")
    visitor = stack.visitor()
    async with visitor.socket(
        visitor.submit()["id"], origin="https://pen.write.example.org"
    ) as socket:
        assert json.loads(await socket.recv())["type"] == "snapshot"


def test_passwords_can_be_guessed_only_so_often_from_one_address(make_stack: Make) -> None:
    stack = make_stack("redis", "web", ADDRESS_SIGN_INS_PER_MINUTE="4", TRUSTED_PROXIES="1")
    right, wrong = (
        {"username": "reader", "password": "a-long-enough-one"},
        {"username": "reader", "password": "another-one"},
    )
    stack.visitor().post(
        "/accounts/signup/",
        {"username": "reader"} | dict.fromkeys(("password1", "password2"), right["password"]),
    )

    def sign_in(fields: dict[str, str], address: str, path: str = "/accounts/login/") -> str:
        answer = stack.visitor().post(
            path, fields, headers={"X-Forwarded-For": address}, allow_redirects=False
        )
        return (
            "in"
            if answer.status_code == 302
            else "wait"
            if "Try again in" in answer.text
            else "wrong"
        )

    guesser, other = "203.0.113.9", "203.0.113.10"
    assert [sign_in(wrong, guesser) for _ in range(3)] == ["wrong"] * 3
    assert sign_in(wrong, guesser, "/admin/login/") == "wrong"  # both doors count together
    assert [sign_in(fields, guesser) for fields in (wrong, right)] == ["wait"] * 2
    refused = stack.visitor().post("/accounts/login/", wrong, headers={"X-Forwarded-For": guesser})
    assert (refused.status_code, 0 < int(refused.headers["Retry-After"]) <= 60) == (429, True)
    assert sign_in(right, guesser, "/admin/login/") == "wait"
    assert [sign_in(right, other) for _ in range(6)] == ["in"] * 6  # and good ones do not count
    assert_sound(stack)


def sign_up(stack: Stack, address: str, name: str = "", again: str = "") -> requests.Response:
    """Sign up from an address, as a new visitor."""
    password = "a-long-enough-one"
    fields = {
        "username": name or f"u{uuid.uuid4().hex[:8]}",
        "password1": password,
        "password2": again or password,
    }
    return stack.visitor().post(
        "/accounts/signup/", fields, headers={"X-Forwarded-For": address}, allow_redirects=False
    )


def test_accounts_can_be_made_only_so_often_from_one_address(make_stack: Make) -> None:
    stack = make_stack("redis", "web", ADDRESS_SIGN_UPS_PER_MINUTE="3", TRUSTED_PROXIES="1")
    eager, other = "203.0.113.9", "203.0.113.10"
    assert [sign_up(stack, eager, again="not the same").status_code for _ in range(4)] == [
        400
    ] * 4  # costs little, and does not count
    assert [sign_up(stack, eager, "first").status_code, sign_up(stack, eager).status_code] == [
        302,
        302,
    ]
    assert (
        sign_up(stack, eager, "first").status_code == 302
    )  # a second click signs in, and costs as much
    refused = sign_up(stack, eager, "late")
    assert (refused.status_code, 0 < int(refused.headers["Retry-After"]) <= 60) == (429, True)
    assert re.search(
        r'role="alert"[^>]*>[^<]*from your network[^<]* Try again in \d+ second', refused.text
    )
    assert 'value="late"' in refused.text
    assert sign_up(stack, other, "late").status_code == 302
    assert [row["n"] for row in stack.rows("SELECT COUNT(*) AS n FROM auth_user")] == [3]
    assert_sound(stack)


def test_passwords_are_looked_at_one_after_the_other_and_pages_go_on(make_stack: Make) -> None:
    stack = make_stack("redis", "web", TRUSTED_PROXIES="1")
    visitors = [stack.visitor() for _ in range(40)]
    for visitor in visitors:
        visitor.get("/")

    def guess(number: int) -> requests.Response:
        headers = {"X-Forwarded-For": f"203.0.113.{number}"}
        return visitors[number].post(
            "/accounts/login/", {"username": "nobody", "password": "guess"}, headers=headers
        )

    begun, burnt = time.monotonic(), cpu(stack.pid("web"))
    with ThreadPoolExecutor(len(visitors)) as threads:
        guesses = [threads.submit(guess, number) for number in range(len(visitors))]
        pages = [stack.visitor().get("/") for _ in range(5)]
        answers = [guess.result() for guess in guesses]
    share = (cpu(stack.pid("web")) - burnt) / (time.monotonic() - begun)
    slowest = max(page.elapsed.total_seconds() for page in pages)
    print(
        f"\n{len(answers)} sign-ins at once took {share:.2f} cores; the slowest page beside them {slowest:.2f} s"
    )
    assert [page.status_code for page in pages] == [200] * 5
    looked_at = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(looked_at) + len(refused) == len(answers)
    assert min(len(looked_at), len(refused)) > 5
    assert all("correct username and password" in answer.text for answer in looked_at)
    assert all(
        int(answer.headers["Retry-After"]) > 0 and "Try again in" in answer.text
        for answer in refused
    )
    assert_sound(stack)


def cpu(pid: int) -> float:
    """Return the seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
