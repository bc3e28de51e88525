"""A socket and its sign-in.

Bad input is in test_bad_sockets.py, slow clients are in test_slow_clients.py.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from websockets.asyncio.client import ClientConnection

from tests.stack import Stack
from tests.visitor import Visitor, frames_until_end, until_closed

PASSWORD = "a-long-enough-one"
AT_ONCE = 1.0  # seconds


def sign_up(visitor: Visitor) -> str:
    """Make an account, sign in with it, and return its name."""
    name = f"u{uuid.uuid4().hex[:8]}"
    answer = visitor.post(
        "/accounts/signup/", {"username": name, "password1": PASSWORD, "password2": PASSWORD}
    )
    assert f"Signed in as <b><bdi>{name}" in answer.text
    return name


async def closed_after(socket: ClientConnection, change: Callable[[], object]) -> None:
    """Make a change that ends a sign-in, and check that the socket closes with 4401 at once."""
    await socket.recv()
    await asyncio.to_thread(change)
    async with asyncio.timeout(AT_ONCE):
        await until_closed(socket)
    assert socket.close_code == 4401


async def test_a_sign_out_closes_the_sockets_of_that_session_at_once_and_no_others(
    stack: Stack,
) -> None:
    user = stack.visitor()
    name = sign_up(user)
    elsewhere = stack.visitor()
    elsewhere.post("/accounts/login/", {"username": name, "password": PASSWORD})
    generation_id = user.submit(length=20_000)["id"]
    async with user.socket(generation_id) as socket, elsewhere.socket(generation_id) as other:
        await closed_after(socket, lambda: user.post("/accounts/logout/"))
        await other.send('{"type": "cancel"}')
        assert (await frames_until_end(other))[-1]["state"] == "cancelled"


async def test_a_sign_up_closes_the_sockets_of_the_texts_it_takes_over(stack: Stack) -> None:
    visitor = stack.visitor()
    generation_id = visitor.submit(length=20_000)["id"]
    async with visitor.socket(generation_id) as socket:
        await closed_after(socket, lambda: sign_up(visitor))
    async with visitor.socket(generation_id) as socket:
        await socket.send('{"type": "cancel"}')
        assert (await frames_until_end(socket))[-1]["state"] == "cancelled"


async def test_a_lock_a_new_password_or_a_deletion_by_staff_closes_sockets_at_once(
    stack: Stack,
) -> None:
    changes = (
        "user.is_active = False; user.save()",
        "user.set_password('another-one'); user.save()",
        "user.delete()",
    )
    for change in changes:
        user = stack.visitor()
        name = sign_up(user)
        program = (
            "from django.contrib.auth.models import User; "
            f"user = User.objects.get(username={name!r}); {change}"
        )
        async with user.socket(user.submit(length=20_000)["id"]) as socket:
            await socket.recv()
            await asyncio.to_thread(stack.manage, "shell", "-c", program)
            async with asyncio.timeout(AT_ONCE):
                await until_closed(socket)
            assert socket.close_code == 4401, change


async def test_without_redis_a_socket_still_cannot_cancel_after_a_sign_out(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack("redis", "web")
    user = stack.visitor()
    sign_up(user)
    generation_id = user.submit(length=20_000)["id"]
    await asyncio.to_thread(stack.kill, "redis")
    async with user.socket(generation_id) as socket:
        await socket.recv()
        await asyncio.to_thread(lambda: user.post("/accounts/logout/"))
        await socket.send('{"type": "cancel"}')
        await until_closed(socket)
    assert socket.close_code == 4401
    assert stack.rows("SELECT cancel_requested FROM generator_generation") == [
        {"cancel_requested": 0}
    ]
