"""A visitor of a running copy: requests and sockets as a browser sends them, without a browser."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import requests
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed


class Visitor:
    """A client with cookies of its own."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.http = requests.Session()
        self.http.trust_env = False  # no proxy stands between a test and its server

    def twin(self, base_url: str = "") -> Visitor:
        """Return the same visitor with separate connections, perhaps over another link."""
        twin = Visitor(base_url or self.base_url)
        twin.http.cookies.update(self.http.cookies)
        return twin

    @property
    def token(self) -> str:
        """The CSRF token; the name of its cookie differs from copy to copy."""
        return next(
            (cookie.value or "" for cookie in self.http.cookies if cookie.name.startswith("csrf")),
            "",
        )

    def get(self, path: str, **options: Any) -> requests.Response:
        """Open a page."""
        return self.http.get(self.base_url + path, timeout=30, **options)

    def post(
        self,
        path: str,
        data: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> requests.Response:
        """Send a form with the CSRF token."""
        if not self.token:
            self.get("/")
        token = {"X-CSRFToken": self.token, "Origin": self.base_url}
        return self.http.post(
            self.base_url + path, data, headers={**token, **(headers or {})}, timeout=30, **options
        )

    def ask(self, **parameters: Any) -> requests.Response:
        """Submit a generation and return the answer, good or bad."""
        return self.post("/generations/", parameters, headers={"Accept": "application/json"})

    def submit(self, **parameters: Any) -> dict[str, Any]:
        """Submit a generation that must be accepted; return its id, url and socket."""
        answer = self.ask(
            **{"prompt": "It was a dark", "length": 200, "temperature": 0.8, **parameters}
        )
        if answer.status_code != 201:
            raise AssertionError(
                f"the submit was answered {answer.status_code}: {answer.text[:500]}"
            )
        accepted: dict[str, Any] = answer.json()
        return accepted

    def socket(
        self,
        generation_id: str,
        after: int | str | None = None,
        *,
        origin: str | None = "",
        path: str | None = None,
        pings: bool = True,
    ) -> connect:
        """Return the socket of a generation, to be used with `async with`.

        With `origin` None no Origin header is sent. Without `pings` no WebSocket pings are sent, as
        in browsers.
        """
        address = path or f"/ws/generations/{generation_id}/" + (
            "" if after is None else f"?after={after}"
        )
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.http.cookies)
        return connect(
            self.base_url.replace("http", "ws", 1) + address,
            origin=self.base_url if origin == "" else origin,  # type: ignore[arg-type]
            additional_headers={"Cookie": cookies},
            proxy=None,
            max_size=None,
            ping_interval=20 if pings else None,
        )

    async def frames(self, generation_id: str, after: int | None = None) -> list[dict[str, Any]]:
        """Watch a generation to its end and return every frame."""
        async with self.socket(generation_id, after) as socket:
            return await frames_until_end(socket)


async def until_closed(socket: ClientConnection) -> list[dict[str, Any]]:
    """Return the frames that arrive before the server closes the socket."""
    received: list[dict[str, Any]] = []
    async with asyncio.timeout(15):
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                received.append(json.loads(message))  # noqa: PERF401 (kept when the close raises)
    return received


async def frames_until_end(socket: ClientConnection) -> list[dict[str, Any]]:
    """Return the frames of an open socket, up to and including the end of the generation."""
    frames: list[dict[str, Any]] = []
    async for message in socket:
        frames.append(json.loads(message))
        if frames[-1]["type"] == "end":
            return frames
    raise AssertionError(f"the socket closed with {socket.close_code} before the end")
