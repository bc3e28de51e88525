"""Connections of the web server: deadlines for each part of a request, a limit for each address.

The server below daphne waits a minute after every byte, so a client that sends one now and then
would stay for ever. It also writes a body of any size to the disk.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Any

from daphne.http_protocol import HTTPFactory
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from django.conf import settings
from twisted.internet.protocol import Protocol
from twisted.protocols.basic import LineReceiver
from twisted.web.http import HTTPChannel

from generator.owners import client_address

logger = logging.getLogger(__name__)
IDLE = 20.0  # seconds until the first byte, and between two requests
# The same behind a proxy of ours. The proxy must be the first to close a connection that it keeps,
# or a request is lost.
IDLE_OF_PROXY = 150.0
HEAD = 10.0  # seconds from the first byte of a request to the end of its head
# Seconds from there to the end of its body. The longest prompt takes ten at 2 KB a second.
BODY = 20.0
# Bytes. Django refuses bodies of more than a quarter of it, with a sentence.
LARGEST_BODY = 4 * settings.DATA_UPLOAD_MAX_MEMORY_SIZE
RETRY_AFTER = 5  # seconds

_open: Counter[str] = Counter()  # connections by address, with those that became WebSockets


class Channel(HTTPChannel):  # type: ignore[misc]
    """Speaks HTTP. Each part of a request has a timeout that no byte restarts."""

    abortTimeout = 5  # noqa: N815 (seconds for sending the last answer)
    _begun = False
    _received = 0  # bytes of the body

    def connectionMade(self) -> None:
        super().connectionMade()
        _open[_address(self.transport)] += 1

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        _closed(self.transport)

    def dataReceived(self, data: bytes) -> None:
        if not self._begun:
            self._begun, self._received = True, 0
            self.setTimeout(HEAD)
        LineReceiver.dataReceived(self, data)  # HTTPChannel's own would restart the timeout

    def allHeadersReceived(self) -> None:
        self.setTimeout(BODY)
        super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if not self._handlingRequest:
            self._received += len(data)
            if self._received > LARGEST_BODY:
                self._refuse(b"413 Content Too Large")
                return
        super().rawDataReceived(data)

    def requestDone(self, request: Any) -> None:
        self._begun, self._savedTimeOut = False, self.factory.timeOut
        super().requestDone(request)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse(b"431 Request Header Fields Too Large")

    def timeoutConnection(self) -> None:
        if self._begun:
            self._refuse(b"408 Request Timeout")
        super().timeoutConnection()

    def _refuse(self, status: bytes) -> None:
        self.transport.write(_answer(status))
        self.loseConnection()


class Socket(WebSocketProtocol):  # type: ignore[misc]
    """A connection that became a WebSocket. The server's pings notice when the client is gone."""

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        _closed(self.transport)


class SocketFactory(WebSocketFactory):  # type: ignore[misc]
    protocol = Socket


class Refusal(Protocol):  # type: ignore[misc]
    """Refuses a connection of an address that has too many."""

    def connectionMade(self) -> None:
        self.transport.write(
            _answer(b"429 Too Many Requests", b"Retry-After: %d\r\n" % RETRY_AFTER)
        )
        self.transport.loseConnection()


class ChannelFactory(HTTPFactory):  # type: ignore[misc]
    """Makes connections, up to the limit of each address."""

    protocol = Channel
    _said = float("-inf")

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.timeOut = IDLE_OF_PROXY if settings.TRUSTED_PROXIES else IDLE
        self._most = settings.ADDRESS_MAX_CONNECTIONS + settings.ADDRESS_MAX_SOCKETS
        if settings.TRUSTED_PROXIES:  # all connections are the proxy's, which counts instead
            self._most = 0  # (deploy/nginx.conf)

    def buildProtocol(self, addr: Any) -> Any:
        address = client_address(addr.host, "")
        if not self._most or _open[address] < self._most:
            return super().buildProtocol(addr)
        if time.monotonic() - self._said >= 60:
            self._said = time.monotonic()
            logger.warning(
                "%s has %d connections and gets no more (ADDRESS_MAX_CONNECTIONS)",
                address,
                self._most,
            )
        return Refusal()


def _address(transport: Any) -> str:
    return client_address(transport.getPeer().host, "")


def _closed(transport: Any) -> None:
    address = _address(transport)
    _open[address] -= 1
    if not _open[address]:
        del _open[address]


def _answer(status: bytes, header: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\n%sConnection: close\r\nContent-Length: 0\r\n\r\n" % (status, header)
