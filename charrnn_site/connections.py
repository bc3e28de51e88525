"""Connections of the web server: a deadline for each part of a request, and a bound for those of one address.

By itself the server below daphne waits for a minute after every byte, so that who sends one now and
then stays for ever, and it writes a body of any size to the disk.
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
IDLE_OF_PROXY = 150.0  # the same behind a proxy of ours: it must be the first to close what it keeps, or a request is lost
HEAD = 10.0  # seconds from the first byte of a request to the end of its head
BODY = 20.0  # seconds from there to the end of its body; the longest prompt takes ten over a link of 2 KB a second
LARGEST_BODY = (
    4 * settings.DATA_UPLOAD_MAX_MEMORY_SIZE
)  # bytes; from a quarter of it on Django refuses, with a sentence
RETRY_AFTER = 5  # seconds

_open: Counter[str] = (
    Counter()
)  # connections by address; those that became WebSockets are among them


class Channel(HTTPChannel):  # type: ignore[misc]
    """Speaks HTTP. Its timeout counts from the beginning of each part of a request, whatever comes meanwhile."""

    abortTimeout = 5  # noqa: N815 (seconds that what was written last may take)
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
        LineReceiver.dataReceived(self, data)  # HTTPChannel's own would begin the timeout anew

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
    """A connection that has become a WebSocket; the server's pings find out when nobody is there any more."""

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        _closed(self.transport)


class SocketFactory(WebSocketFactory):  # type: ignore[misc]
    protocol = Socket


class Refusal(Protocol):  # type: ignore[misc]
    """Sends one connection too many away."""

    def connectionMade(self) -> None:
        self.transport.write(
            _answer(b"429 Too Many Requests", b"Retry-After: %d\r\n" % RETRY_AFTER)
        )
        self.transport.loseConnection()


class ChannelFactory(HTTPFactory):  # type: ignore[misc]
    """Makes connections, as long as their address may have more."""

    protocol = Channel
    _said = float("-inf")

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.timeOut = IDLE_OF_PROXY if settings.TRUSTED_PROXIES else IDLE
        # Behind proxies of ours every connection has a proxy's address: there the proxy has to
        # count (deploy/nginx.conf).
        self._most = (
            0
            if settings.TRUSTED_PROXIES
            else settings.ADDRESS_MAX_CONNECTIONS + settings.ADDRESS_MAX_SOCKETS
        )

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
