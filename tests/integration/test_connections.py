"""Idle connections are closed, connections per address are limited, malformed requests refused."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from charrnn_site.connections import BODY, HEAD, IDLE, LARGEST_BODY
from tests.stack import HOST, Stack

Make = Callable[..., Stack]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[Stack, bytes], "asyncio.Future[Connection]"]
GRACE = 5.0  # seconds
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = (
    b"POST /generations/ HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n"
)
UPGRADE = (
    b"GET /ws/generations/x/ HTTP/1.1\r\nHost: localhost\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
)


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """A function that opens a connection and sends data; all are closed after the test."""
    writers: list[asyncio.StreamWriter] = []

    async def open_one(stack: Stack, data: bytes = b"") -> Connection:
        reader, writer = await asyncio.open_connection(HOST, stack.port)
        writers.append(writer)
        writer.write(data)
        return reader, writer

    yield open_one  # type: ignore[misc]
    for writer in writers:
        writer.transport.abort()


async def until_end(reader: asyncio.StreamReader) -> bytes:
    """Return all data that arrives before the server closes the connection."""
    received = b""
    with suppress(ConnectionError):
        while piece := await reader.read(65_536):
            received += piece
    return received


async def trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send one byte per second, as a client that holds a connection open."""
    with suppress(ConnectionError):
        for byte in data * 10:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)


async def closed_after(reader: asyncio.StreamReader, begun: float) -> float:
    """Return the seconds from `begun` until the server closes the connection."""
    await until_end(reader)
    return time.monotonic() - begun


async def test_idle_connections_and_unfinished_requests_are_closed_but_not_a_quiet_socket(
    make_stack: Make, connect: Connect
) -> None:
    stack = make_stack("redis", "web")
    visitor = stack.visitor()
    async with visitor.socket(visitor.submit()["id"], pings=False) as socket:
        assert json.loads(await socket.recv())["type"] == "snapshot"
        begun = time.monotonic()
        kinds = {
            "silent": (b"", b"", IDLE),
            "half a line": (b"GE", b"", HEAD),
            "half a head": (GET, b"", HEAD),
            "a head byte by byte": (GET, b"X-Slow: yes\r\n", HEAD),
            "half a handshake": (UPGRADE, b"", HEAD),
            "no body": (POST + b"Content-Length: 100\r\n\r\n", b"", BODY),
            "a body byte by byte": (POST + b"Content-Length: 100\r\n\r\n", b"prompt", BODY),
            "a chunk byte by byte": (
                POST + b"Transfer-Encoding: chunked\r\n\r\n64\r\n",
                b"prompt",
                BODY,
            ),
            "kept alive": (GET + b"\r\n", b"", IDLE),
        }
        ends = []
        for name, (data, slowly, deadline) in kinds.items():
            for _ in range(20):
                reader, writer = await connect(stack, data)
                if slowly:
                    ends.append(
                        (name, deadline, trickle(writer, slowly), closed_after(reader, begun))
                    )
                else:
                    ends.append((name, deadline, asyncio.sleep(0), closed_after(reader, begun)))
        pages = asyncio.to_thread(lambda: [stack.visitor().get("/").status_code for _ in range(20)])
        answers, *waits = await asyncio.gather(
            pages, *(asyncio.gather(sending, closing) for _, _, sending, closing in ends)
        )
        assert answers == [200] * 20
        for (name, deadline, _, _), (_, seconds) in zip(ends, waits, strict=True):
            assert deadline - 1 <= seconds <= deadline + GRACE, (
                f"{name}: closed after {seconds:.1f} s"
            )
        heard = time.monotonic()
        while time.monotonic() - heard < 6:  # seconds; the server says something every five
            frame = json.loads(await asyncio.wait_for(socket.recv(), 6))
            if frame["type"] == "alive":
                break
        assert frame["type"] == "alive"
    assert "Traceback" not in stack.logs("web", 10_000)


async def test_connections_are_limited_for_each_address_but_not_for_a_trusted_proxy(
    make_stack: Make, connect: Connect
) -> None:
    stack = make_stack(
        "redis",
        "web",
        ADDRESS_MAX_CONNECTIONS="20",
        ADDRESS_MAX_SOCKETS="10",
        OWNER_MAX_SOCKETS="10",
    )
    visitor = stack.visitor()
    generation_id = visitor.submit()["id"]
    visitor.http.close()
    sockets = [await visitor.socket(generation_id) for _ in range(5)]
    first = [await connect(stack, b"GET") for _ in range(25)]
    for _ in range(3):
        reader, _ = await connect(stack, b"")
        refused = await asyncio.wait_for(until_end(reader), 5)
        assert refused.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nRetry-After: " in refused
    for socket in sockets:
        await socket.close()
    first[0][1].transport.abort()  # frees one more
    await asyncio.sleep(0.2)
    taken = [await connect(stack, GET + b"\r\n") for _ in range(6)]
    assert [(await asyncio.wait_for(reader.readline(), 5)).split()[1] for reader, _ in taken] == [
        b"200"
    ] * 6
    reader, _ = await connect(stack, b"")
    assert (await asyncio.wait_for(until_end(reader), 5)).startswith(b"HTTP/1.1 429 ")
    assert stack.logs("web").count("ADDRESS_MAX_CONNECTIONS") == 1

    stack.stop("web")
    stack.environment["TRUSTED_PROXIES"] = "1"
    stack.start("web")
    many = [await connect(stack, GET + b"\r\n") for _ in range(60)]
    assert [(await asyncio.wait_for(reader.readline(), 5)).split()[1] for reader, _ in many] == [
        b"200"
    ] * 60


NOT_REQUESTS = {
    "a path of 1 MB": (b"GET /" + b"a" * 2**20 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"431"),
    "a header of 1 MB": (GET + b"X-Long: " + b"a" * 2**20 + b"\r\n\r\n", b"431"),
    "headers of 1 MB": (
        GET + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(1000)) + b"\r\n",
        b"400",
    ),
    "a thousand headers": (
        GET + b"".join(b"X-%d: a\r\n" % number for number in range(1000)) + b"\r\n",
        b"400",
    ),
    "a body of 10 GB": (
        POST + b"Content-Length: 10000000000\r\n\r\n" + b"a" * (LARGEST_BODY + 1),
        b"413",
    ),
    "chunks without an end": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"a" * 1024 + b"\r\n",
        b"413",
    ),
    "length and chunks": (
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET + b"\r\n",
        b"400",
    ),
    "two lengths": (POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", b"400"),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n", b"400"),
    "a coding nobody knows": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", b"400"),
    "a space before the colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", b"400"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"400"),
}


@pytest.mark.parametrize("name", NOT_REQUESTS)
async def test_a_malformed_request_is_refused_at_once(
    stack: Stack, connect: Connect, name: str
) -> None:
    data, status = NOT_REQUESTS[name]
    reader, writer = await connect(stack, b"")
    if "without an end" in name:
        data = data + (b"400\r\n" + b"a" * 1024 + b"\r\n") * (LARGEST_BODY // 1024 + 1)
    with suppress(ConnectionError):
        writer.write(data)
        await writer.drain()
    answer = await asyncio.wait_for(until_end(reader), 5)
    # A client that is still sending when the server closes may not receive the answer.
    assert answer.split(b" ")[1:2] in ([status], [] if len(data) > 2**16 else [status])
    assert answer.count(b"HTTP/1.1 ") <= 1, "the data after it is not read as a second request"
    assert stack.visitor().get("/healthz").status_code == 200
    assert stack.is_running("web")
