"""Limits on open sockets, how places become free again, and which origins may connect."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis import Redis
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.integration.admission import Make, assert_sound
from tests.stack import wait_until
from tests.visitor import Visitor

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


async def test_sockets_are_limited_for_each_visitor_and_address_and_a_closed_one_frees_its_place(
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
        client.flushall()  # the web process writes its places again
        wait_until(
            lambda: sum(client.zcard(key) for key in client.keys("charrnn:sockets:visitor:*")) == 7,
            "the places are written again",
            15,
        )
    assert await opened(visitor, mine) is None
    assert_sound(stack)


async def test_a_restarted_web_process_frees_its_own_places_and_no_others(
    make_stack: Make, opened: Open
) -> None:
    stack = make_stack("redis", "web", OWNER_MAX_SOCKETS="3")
    visitor = stack.visitor()
    generation_id = visitor.submit()["id"]
    assert None not in [await opened(visitor, generation_id) for _ in range(2)]
    with Redis.from_url(stack.redis_url) as client:
        # A place that a web process of another machine has given.
        [key] = client.keys("charrnn:sockets:visitor:*")
        client.zadd(key, {"elsewhere:8000|1|1": time.time() * 1000})
        client.hset("charrnn:seats", "elsewhere:8000", "1")
    assert await opened(visitor, generation_id) is None
    await asyncio.to_thread(stack.kill, "web")
    stack.start("web")
    assert None not in [await opened(visitor, generation_id) for _ in range(2)], (
        "the places are free before their leases end"
    )
    assert await opened(visitor, generation_id) is None, "the other machine's place still counts"


async def test_without_redis_sockets_are_not_limited(make_stack: Make, opened: Open) -> None:
    stack = make_stack("redis", "web", OWNER_MAX_SOCKETS="2")
    visitor = stack.visitor()
    generation_id = visitor.submit()["id"]
    stack.kill("redis")
    assert None not in [await opened(visitor, generation_id) for _ in range(3)]


async def test_a_wildcard_origin_admits_sockets_of_its_subdomains(make_stack: Make) -> None:
    stack = make_stack("redis", "web", CSRF_TRUSTED_ORIGINS="https://*.example.org")
    visitor = stack.visitor()
    async with visitor.socket(
        visitor.submit()["id"], origin="https://pen.write.example.org"
    ) as socket:
        assert json.loads(await socket.recv())["type"] == "snapshot"
