"""A socket and its session. Bad input at the socket is in test_bad_sockets.py, slow clients in test_slow_clients.py."""

from __future__ import annotations

import asyncio
import uuid

from tests.stack import Stack, until_closed


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
