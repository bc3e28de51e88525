"""Clients that read slowly, late or never get the whole text or are cut off, at a bounded cost."""

from __future__ import annotations

import asyncio
import base64
import json
import select
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from redis import Redis
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.proxy import Proxy
from tests.stack import EVERYTHING, HOST, Stack, wait_until
from tests.visitor import Visitor

Make = Callable[..., Stack]
WINDOW = 32_768  # the default of SOCKET_WINDOW
LINK = 2_000  # bytes a second


def deaf_socket(visitor: Visitor, stack: Stack, generation_id: str) -> socket.socket:
    """Open a socket and never read from it again; a small buffer stops the kernel soon as well."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect((HOST, stack.port))
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.http.cookies)
    lines = (
        f"GET /ws/generations/{generation_id}/?after=0 HTTP/1.1",
        f"Host: {HOST}:{stack.port}",
        f"Origin: {stack.base_url}",
        f"Cookie: {cookies}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(b'0123456789abcdef').decode()}",
    )
    deaf.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert deaf.recv(12) == b"HTTP/1.1 101"
    return deaf


async def until_cut_off(deaf: socket.socket) -> float:
    """Wait until the server resets a connection; return how many seconds that took."""
    poll, start = select.poll(), time.monotonic()
    poll.register(deaf, 0)  # errors and hang-ups are always reported
    await asyncio.to_thread(poll.poll)
    deaf.close()
    return time.monotonic() - start


class Reader:
    """Reads a text frame by frame; a gap or an overlap fails."""

    def __init__(self) -> None:
        self.text = ""
        self.end: dict[str, Any] | None = None

    def take(self, message: str | bytes) -> None:
        frame = json.loads(message)
        if frame["type"] in {"snapshot", "chars"}:
            assert frame["offset"] == len(self.text)
            self.text += frame["text"]
        elif frame["type"] == "end":
            self.end = frame

    async def confirm(self, socket: ClientConnection) -> None:
        await socket.send(json.dumps({"type": "ack", "offset": len(self.text)}))

    async def read(self, socket: ClientConnection, every: int = 1000) -> None:
        """Read to the end and confirm as the page does."""
        confirmed = 0
        while self.end is None:
            self.take(await socket.recv())
            if len(self.text) - confirmed >= every:
                confirmed = len(self.text)
                await self.confirm(socket)


async def read_whole(visitor: Visitor, generation_id: str) -> Reader:
    """Read a text from its beginning to its end."""
    reader = Reader()
    async with visitor.socket(generation_id) as socket:
        await reader.read(socket)
    return reader


async def socket_until_closed(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    """Yield messages until the server closes the socket, with any code."""
    with suppress(ConnectionClosed):
        async for message in socket:
            yield message


def exported(visitor: Visitor, generation_id: str) -> str:
    text: str = visitor.get(f"/generations/{generation_id}/export.json").json()["text"]
    return text


@pytest.fixture
def long_stack(make_stack: Make) -> Stack:
    """The whole product, for texts much longer than a window, with less patience than usual."""
    lengths = {"GENERATION_MAX_LENGTH": "200000", "SOCKET_STALLED": "6"}
    return make_stack(*EVERYTHING, **lengths, OWNER_MAX_ACTIVE="10")


async def test_clients_that_never_read_are_cut_off_and_cost_little_while_others_read_on(
    long_stack: Stack,
) -> None:
    stack, count = long_stack, 10
    visitor, other = stack.visitor(), stack.visitor()
    warm = other.submit(length=200_000)["id"]
    # Threads and their connections, with what these cache of such long rows, now count as base.
    await asyncio.gather(*(read_whole(other, warm) for _ in range(3)))
    base = stack.memory("web")
    generation_id = visitor.submit(length=200_000)["id"]
    deaf = [
        await asyncio.to_thread(deaf_socket, visitor, stack, generation_id) for _ in range(count)
    ]
    peak = base

    async def watch_memory() -> None:
        nonlocal peak
        while True:
            peak = max(peak, stack.memory("web"))
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch_memory())
    cut_off = asyncio.gather(*(until_cut_off(one) for one in deaf))
    reader = await read_whole(visitor, generation_id)
    assert len(reader.text) == 200_000
    assert reader.text == exported(visitor, generation_id)
    seconds = await cut_off
    watching.cancel()
    print(f"\ncut off after {min(seconds):.1f} to {max(seconds):.1f} s")
    print(f"memory: {base:.0f} MiB before, {(peak - base) / count:.2f} MiB a client at most")
    assert max(seconds) < 60
    assert (peak - base) / count < 5
    wait_until(lambda: stack.memory("web") < base * 1.1, "the memory is given back", 60)
    assert "Traceback" not in stack.logs("web", 100_000)


async def test_a_client_that_never_reads_is_cut_off_while_its_text_waits_too(
    make_stack: Make,
) -> None:
    stack = make_stack("redis", "web")
    visitor = stack.visitor()
    deaf = deaf_socket(visitor, stack, visitor.submit()["id"])
    seconds = await until_cut_off(deaf)
    print(f"\ncut off after {seconds:.1f} s")
    assert seconds < 60


async def test_over_a_link_of_2_kb_a_second_the_whole_text_comes_over_one_socket(
    stack: Stack,
) -> None:
    visitor, reader = stack.visitor(), Reader()
    # Longer than the server bears a client that does not read.
    generation_id = visitor.submit(length=9_500, seed=9)["id"]
    start = time.monotonic()
    with Proxy(stack.port, narrow=True) as link:
        link.rate = LINK
        async with visitor.twin(link.url).socket(
            generation_id, 0, pings=False
        ) as socket:  # a ping would wait behind the text
            await reader.read(socket)
    seconds = time.monotonic() - start
    print(f"\n9,500 characters in {seconds:.0f} s over a link of {LINK} bytes a second")
    assert reader.end is not None
    assert reader.text == exported(visitor, generation_id)


async def test_a_client_that_confirms_late_gets_every_character_once(make_stack: Make) -> None:
    stack = make_stack(*EVERYTHING, GENERATION_MAX_LENGTH="60000", SOCKET_WINDOW="8000")
    visitor, reader, pauses = stack.visitor(), Reader(), 0
    generation_id = visitor.submit(length=60_000)["id"]
    async with visitor.socket(generation_id) as socket:
        while reader.end is None:
            try:
                reader.take(await asyncio.wait_for(socket.recv(), 1))
            except TimeoutError:
                pauses += 1
                if pauses == 3:
                    with Redis.from_url(stack.redis_url) as client:
                        client.flushall()  # from here on the row has to do
                await reader.confirm(socket)
    assert pauses >= 5, "the window held it up"
    assert len(reader.text) == 60_000
    assert reader.text == exported(visitor, generation_id)


async def test_a_client_that_never_confirms_gets_a_window_and_goes_on_at_its_offset(
    long_stack: Stack,
) -> None:
    visitor, reader = long_stack.visitor(), Reader()
    generation_id = visitor.submit(length=50_000)["id"]
    async with visitor.socket(generation_id) as socket:
        async for message in socket_until_closed(socket):
            reader.take(message)
    assert socket.close_code == 4408
    assert WINDOW <= len(reader.text) < 50_000
    async with visitor.socket(generation_id, after=len(reader.text)) as socket:
        await reader.read(socket)
    assert reader.end is not None
    assert reader.text == exported(visitor, generation_id)
