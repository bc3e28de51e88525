"""The properties of the bad link that other tests rely on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.proxy import HOST, Proxy
from tests.stack import wait_until


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that returns all data."""
    with socket.create_server((HOST, 0)) as door:

        def serve() -> None:
            while True:
                try:
                    end, _ = door.accept()
                except OSError:
                    return
                threading.Thread(target=back, args=(end,), daemon=True).start()

        def back(end: socket.socket) -> None:
            with end:
                while piece := receive(end):
                    end.sendall(piece)

        threading.Thread(target=serve, daemon=True).start()
        yield door.getsockname()[1]
        door.shutdown(socket.SHUT_RDWR)


def receive(end: socket.socket) -> bytes:
    """Return the data received; b"" after a reset."""
    try:
        return end.recv(65_536)
    except ConnectionResetError:
        return b""


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), timeout=5)


def echoed(end: socket.socket, size: int) -> float:
    """Send bytes, receive them back, and return the seconds it took."""
    began = time.monotonic()
    sent = bytes(number % 251 for number in range(size))
    threading.Thread(target=end.sendall, args=(sent,), daemon=True).start()
    got = b""
    while len(got) < size:
        got += end.recv(65_536)
    assert got == sent
    return time.monotonic() - began


def test_it_passes_on_every_byte_and_the_end(echo: int) -> None:
    with Proxy(echo) as proxy, connected(proxy) as end:
        echoed(end, 1_000_000)
        end.shutdown(socket.SHUT_WR)
        assert end.recv(1) == b""
    assert proxy.resets == 0


def test_it_resets_again_and_again(echo: int) -> None:
    with Proxy(echo) as proxy:
        proxy.reset_every(0.1)
        for _ in range(2):
            with connected(proxy) as end, pytest.raises(ConnectionResetError):
                end.recv(1)
        assert proxy.resets >= 2


def test_it_keeps_to_a_rate(echo: int) -> None:
    with Proxy(echo) as proxy:
        proxy.rate = 10_000
        with connected(proxy) as end:
            assert echoed(end, 5_000) >= 0.4


def test_a_black_hole_ends_with_nothing_lost(echo: int) -> None:
    with Proxy(echo) as proxy, connected(proxy) as end:
        echoed(end, 1)
        proxy.black_hole(0.5)
        assert echoed(end, 1_000) >= 0.4


def test_it_refuses_and_takes_connections_on_the_same_port(echo: int) -> None:
    with Proxy(echo) as proxy, connected(proxy) as end:
        echoed(end, 1)
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            end.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connected(proxy)
        proxy.accept()
        with connected(proxy) as again:
            echoed(again, 1)


def test_a_lost_reply_comes_after_the_request_has_gone_through() -> None:
    with socket.create_server((HOST, 0)) as door, Proxy(door.getsockname()[1]) as proxy:
        proxy.loses_replies = True
        with connected(proxy) as end:
            end.sendall(b"question")
            server, _ = door.accept()
            with server:
                wait_until(lambda: server.recv(8) == b"question", "the request arrives", 5)
                server.sendall(b"answer")
                with pytest.raises(ConnectionResetError):
                    end.recv(1)
