"""A socket and its session. Bad input at the socket is in test_bad_sockets.py, slow clients in test_slow_clients.py."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.stack import Stack


async def until_closed(socket: ClientConnection) -> list[dict[str, Any]]:
    """Return what still comes before the server closes."""
    received: list[dict[str, Any]] = []
    async with asyncio.timeout(15):
        with suppress(ConnectionClosed):
            async for message in socket:
                received.append(json.loads(message))  # noqa: PERF401 (what came before the close counts)
    return received


async def test_a_sign_out_ends_what_an_open_socket_may_do(stack: Stack) -> None:
    user = stack.visitor()
    fields = {"username": f"u{uuid.uuid4().hex[:8]}", "password1": "a-long-enough-one", "password2": "a-long-enough-one"}
    user.post("/accounts/signup/", fields)
    generation_id = user.submit(length=20_000)["id"]
    async with user.socket(generation_id) as socket:
        await socket.recv()
        await asyncio.to_thread(lambda: user.post("/accounts/logout/"))
        await socket.send('{"type": "cancel"}')
        await until_closed(socket)
    assert socket.close_code == 4401
