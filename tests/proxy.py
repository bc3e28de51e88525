"""A bad link: a TCP proxy that resets connections, slows down, stalls, refuses or loses replies.

It buffers at most one piece in each direction, so what a slow client does not read stays with the
server.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Self

HOST = "127.0.0.1"
PIECE = 4_096  # bytes
# Bytes that the kernel may buffer for a socket of a narrow link. Its usual megabytes hide how slow
# a client is.
NARROW = 8_192
SLICES = 10  # pieces a second of a link with a rate
RESET = struct.pack("ii", 1, 0)  # with no time to linger a close sends RST in place of FIN


class Proxy:
    """A link to `port` on this host, with its own port. At first it passes everything on.

    Behind a `narrow` link the server notices at once that a client does not read. It carries about
    80 KB per second.
    """

    def __init__(self, port: int, *, narrow: bool = False) -> None:
        self._target = (HOST, port)
        self._narrow = narrow
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._door: tuple[socket.socket, asyncio.Task[None]] | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._faults: list[Future[None]] = []
        self._flowing = asyncio.Event()
        self.rate: int | None = (
            None  # bytes a second, of each direction of each connection made from now on
        )
        self.loses_replies = (
            False  # a request goes through, and when its reply begins the connection is reset
        )
        self.resets = 0  # connections that were reset by `refuse` and `reset_every`
        self.port = 0

    def __enter__(self) -> Self:
        self._flowing.set()
        self._thread.start()
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        for fault in self._faults:
            fault.cancel()
        self._do(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """The address to use in place of the server's, in both Host and Origin."""
        return f"http://{HOST}:{self.port}"

    def accept(self) -> None:
        """Take connections; after `refuse` on the same port as before."""
        self._do(self._listen())

    def refuse(self) -> None:
        """Refuse new connections, and reset those there are."""
        self._do(self._shut())

    def reset_every(self, seconds: float) -> None:
        """Reset every connection, repeatedly."""
        self._begin(self._keep_resetting(seconds))

    def black_hole(self, seconds: float) -> None:
        """Hold all data in both directions for a while and close nothing; it arrives afterwards."""
        self._begin(self._stall(seconds))

    def _do(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def _begin(self, fault: Coroutine[Any, Any, None]) -> None:
        self._faults.append(asyncio.run_coroutine_threadsafe(fault, self._loop))

    async def _listen(self) -> None:
        door = socket.create_server((HOST, self.port), backlog=128)
        door.setblocking(False)
        self.port = door.getsockname()[1]
        self._door = door, asyncio.create_task(self._serve(door))

    async def _shut(self) -> None:
        if self._door:
            door, serving = self._door
            self._door = None
            await _cancel({serving})
            door.close()
        await self._reset()

    async def _serve(self, door: socket.socket) -> None:
        while True:
            client, _ = await self._loop.sock_accept(door)
            link = asyncio.create_task(self._link(client))
            self._links.add(link)
            link.add_done_callback(self._links.discard)

    async def _link(self, client: socket.socket) -> None:
        ends = client, socket.socket()
        for end in ends:
            end.setblocking(False)
            for kind in (socket.SO_RCVBUF, socket.SO_SNDBUF) if self._narrow else ():
                end.setsockopt(socket.SOL_SOCKET, kind, NARROW)
        try:
            await self._flowing.wait()
            await self._loop.sock_connect(ends[1], self._target)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._copy(ends[0], ends[1]))
                both.create_task(self._copy(ends[1], ends[0], is_reply=True))
        except* (OSError, asyncio.CancelledError):
            for end in ends:  # a reset of one end is one of the other, too
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        finally:
            for end in ends:
                end.close()

    async def _copy(
        self, source: socket.socket, sink: socket.socket, is_reply: bool = False
    ) -> None:
        """Pass on what comes, and then that nothing more will; the other direction goes on."""
        rate = self.rate
        size = max(1, rate // SLICES) if rate else PIECE
        while True:
            piece = await self._loop.sock_recv(source, size)
            await self._flowing.wait()
            if is_reply and self.loses_replies:
                raise ConnectionResetError
            if not piece:
                sink.shutdown(socket.SHUT_WR)
                return
            await self._loop.sock_sendall(sink, piece)
            if rate:
                await asyncio.sleep(len(piece) / rate)

    async def _reset(self) -> None:
        self.resets += len(self._links)
        await _cancel(self._links)

    async def _keep_resetting(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._reset()

    async def _stall(self, seconds: float) -> None:
        self._flowing.clear()
        await asyncio.sleep(seconds)
        self._flowing.set()


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
