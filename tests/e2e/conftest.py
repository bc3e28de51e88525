"""Ring 3: the whole product and Debian's Chromium.

A console error or a request to another host fails the test. Do not use the ORM here: it refuses to
work beside Playwright's event loop. Ask the pages, or `stack.rows`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.e2e.pages import show_at_once
from tests.stack import Stack

HERE = Path(__file__).parent
QUIET = (
    "--no-sandbox",  # tests run as root
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow time to start processes and a browser on a busy machine."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium with a fresh profile."""
    chromium = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if chromium is None:
        pytest.skip("no Chromium on PATH (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        yield started
        started.close()


@pytest.fixture
def problems() -> list[str]:
    """What the browser complained about. A test that causes a complaint clears the list."""
    return []


@pytest.fixture
def context(browser: Browser, stack: Stack, problems: list[str]) -> Iterator[BrowserContext]:
    """A visitor's browser with its own cookies, watched for errors and foreign requests."""
    with browser.new_context(base_url=stack.base_url, reduced_motion="no-preference") as fresh:
        fresh.set_default_timeout(15_000)
        show_at_once(fresh)
        fresh.on("request", lambda request: _foreign(request.url, stack, problems))
        fresh.on("console", lambda message: _severe(message, problems))
        fresh.on("weberror", lambda error: problems.append(f"uncaught: {error.error}"))
        fresh.on(
            "page",
            lambda page: page.on("websocket", lambda socket: _foreign(socket.url, stack, problems)),
        )
        yield fresh
    assert not problems, "the browser complained:\n" + "\n".join(problems)


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A tab of that browser."""
    return context.new_page()


def _foreign(url: str, stack: Stack, problems: list[str]) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"data", "blob"} and parts.netloc != urlsplit(stack.base_url).netloc:
        problems.append(f"request to another host: {url}")


def _severe(message: ConsoleMessage, problems: list[str]) -> None:
    if message.type == "error":
        problems.append(f"console: {message.text}")
