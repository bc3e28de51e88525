"""A visitor of the benchmark, and what it saw."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import urlencode

from websockets.asyncio.client import connect

from tests.stack import HOST, Stack
from tests.visitor import Visitor

PROMPT = "It was a dark and stormy night"


@dataclass
class Watched:
    """What one client saw. Moments are seconds of time.perf_counter()."""

    submitted: float = 0.0
    accepted: float = 0.0
    frames: list[tuple[float, int]] = field(default_factory=list)  # moment and characters
    ended: float = 0.0
    error: str = ""

    @property
    def first_character(self) -> float:
        return next(moment for moment, count in self.frames if count) - self.submitted

    def gaps(self) -> list[float]:
        """Return the seconds between frames with characters."""
        moments = [moment for moment, count in self.frames if count]
        return [later - earlier for earlier, later in pairwise(moments)]


class Client:
    """A visitor with a session. Writes its own HTTP, so that no library's cost is measured."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        visitor = Visitor(stack.base_url)
        visitor.submit(length=1)  # makes the session
        self.cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.http.cookies)
        self.token = visitor.token

    async def submit(self, length: int) -> str:
        """Send the form and return the address of the socket."""
        body = urlencode({"prompt": PROMPT, "length": length, "temperature": 0.8}).encode()
        head = (
            f"POST /generations/ HTTP/1.1\r\nHost: {HOST}:{self.stack.port}\r\n"
            f"Origin: {self.stack.base_url}\r\nCookie: {self.cookies}\r\n"
            f"X-CSRFToken: {self.token}\r\nAccept: application/json\r\nConnection: close\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection(HOST, self.stack.port)
        writer.write(head.encode() + body)
        answer = await reader.read()
        writer.close()
        status, _, content = answer.partition(b"\r\n\r\n")
        if b" 201 " not in status.splitlines()[0]:
            raise RuntimeError(f"the submit was answered {answer[:300]!r}")
        socket: str = json.loads(content[content.index(b"{") : content.rindex(b"}") + 1])["socket"]
        return socket

    async def watch(self, length: int) -> Watched:
        """Submit, open the socket, and read to the end."""
        seen = Watched(submitted=time.perf_counter())
        try:
            path = await self.submit(length)
            seen.accepted = time.perf_counter()
            address = self.stack.base_url.replace("http", "ws", 1) + path
            headers = {"Cookie": self.cookies}
            async with connect(
                address,
                origin=self.stack.base_url,
                additional_headers=headers,
                proxy=None,
                compression=None,
            ) as socket:
                async for message in socket:
                    frame = json.loads(message)
                    seen.frames.append((time.perf_counter(), len(frame.get("text", ""))))
                    if frame["type"] == "end":
                        break
            seen.ended = time.perf_counter()
            if (got := sum(count for _, count in seen.frames)) != length:
                seen.error = f"{got} characters instead of {length}"
        except Exception as error:  # counted and shown; the round goes on with the other clients
            seen.error = f"{type(error).__name__}: {error}"
        return seen
