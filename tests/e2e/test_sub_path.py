"""The site below a path, behind a proxy that keeps the path and behind one that strips it."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.pages import (
    output,
    prompt_field,
    send,
    show_at_once,
    shown_text,
    wait_for_end,
    wait_for_frames,
)
from tests.stack import HOST, Stack

BASE = "/charrnn"


class StrippingProxy(socketserver.ThreadingTCPServer):
    """Strips the path as `proxy_pass http://127.0.0.1:8000/;` does; other paths are 404.

    Each connection carries one request.
    """

    daemon_threads = True

    def __init__(self, target: int) -> None:
        super().__init__((HOST, 0), Passage)
        self.target = target
        self.outside: list[str] = []


class Passage(socketserver.StreamRequestHandler):
    """One request and its answer."""

    server: StrippingProxy

    def handle(self) -> None:
        method, path, version = self.rfile.readline().decode().split(" ")
        if not path.startswith(f"{BASE}/"):
            self.server.outside.append(path)
            self.wfile.write(
                b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            return
        with socket.create_connection((HOST, self.server.target)) as server:
            server.sendall(f"{method} {path.removeprefix(BASE)} {version}".encode())
            sending = threading.Thread(target=self._send, args=(server,), daemon=True)
            sending.start()
            with suppress(OSError):
                while piece := server.recv(65_536):
                    self.wfile.write(piece)
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            sending.join()

    def _send(self, server: socket.socket) -> None:
        with suppress(OSError):
            while (line := self.rfile.readline()) != b"\r\n":
                server.sendall(
                    line.replace(b"keep-alive", b"close")
                    if line.startswith(b"Connection:")
                    else line
                )
            server.sendall(line)
            while piece := self.rfile.read1(65_536):
                server.sendall(piece)
            server.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def below(stack: Stack) -> Iterator[Stack]:
    """A web process below a path, on the rows of the shared stack."""
    with stack.beside(BASE_PATH=BASE) as web:
        yield web.start("web")


@pytest.fixture(params=["stripped", "left"])
def site(request: pytest.FixtureRequest, below: Stack) -> Iterator[str]:
    """The address at which a browser finds the site."""
    if request.param == "left":
        yield f"{below.base_url}{BASE}"
        return
    with StrippingProxy(below.port) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{proxy.server_address[1]}{BASE}"
        proxy.shutdown()
        assert not [path for path in proxy.outside if path != "/favicon.ico"]


@pytest.fixture
def visitor(browser: Browser, site: str) -> Iterator[Page]:
    """A tab that must request nothing outside the path."""
    strays: list[str] = []
    with browser.new_context() as context:
        show_at_once(context)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on(
            "request",
            lambda asked: (
                strays.append(asked.url) if not asked.url.startswith(f"{site}/") else None
            ),
        )
        page.on(
            "response",
            lambda answer: (
                strays.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
            ),
        )
        page.on(
            "websocket",
            lambda socket: strays.append(socket.url) if f"{BASE}/ws/" not in socket.url else None,
        )
        page.on(
            "console",
            lambda message: strays.append(message.text) if message.type == "error" else None,
        )
        yield page
        assert {cookie["path"] for cookie in context.cookies()} == {f"{BASE}/"}
    assert not strays


def test_a_text_its_history_and_the_admin_below_a_path(
    visitor: Page, site: str, below: Stack
) -> None:
    page = visitor
    page.goto(f"{site}/")
    prompt_field(page).fill("It was a dark")
    page.get_by_label("Length", exact=True).fill("10000")
    send(page)
    wait_for_frames(page, 1)
    wait_for_end(page)
    text = shown_text(page)
    assert len(text) == 10_000  # enough for frames to come live
    assert page.url.startswith(f"{site}/generations/")

    page.reload()  # the permalink, drawn by the server
    expect(output(page)).to_have_attribute("data-state", "done")
    assert shown_text(page) == text
    page.get_by_role("link", name="History").click()
    expect(page.get_by_text("It was a dark").first).to_be_visible()
    page.get_by_role("link", name="Sign up").click()
    page.locator("[name=username]").fill(f"reader{urlsplit(site).port}")
    for name in ("password1", "password2"):
        page.locator(f"[name={name}]").fill("a-long-enough-one")
    page.get_by_role("button", name="Create account").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("link", name="Sign in").click()

    page.goto(f"{site}/admin/")
    assert page.url == f"{site}/admin/login/?next={BASE}/admin/"
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    assert page.request.get(f"{site}/healthz").json() == {"status": "alive"}


def test_health_answers_with_the_path_and_without(below: Stack) -> None:
    visitor = below.visitor()
    assert [
        visitor.get(path).status_code for path in ("/healthz", f"{BASE}/healthz", "/readyz")
    ] == [200] * 3
    assert visitor.get("/history", allow_redirects=False).headers["Location"] == f"{BASE}/history/"
