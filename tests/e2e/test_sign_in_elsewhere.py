"""Two tabs of one browser: after a sign-in, sign-up or sign-out in one, the other goes on."""

from __future__ import annotations

import shutil
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.pages import (
    PERMALINK,
    begin,
    exported,
    output,
    prompt_field,
    send,
    sign_in,
    sign_up,
    wait_for_end,
    wait_for_frames,
)
from tests.stack import Stack, wait_until

WHOLE = 20_000  # characters; the longest text that can be asked for


def new_account(page: Page) -> str:
    """Create an account in this tab, and return its name."""
    name = f"tab-{uuid.uuid4().hex[:8]}"
    sign_up(page, name)
    return name


@pytest.fixture(scope="module")
def stack(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A copy of its own: its worker is frozen at times, and no housekeeping requeues its texts."""
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("elsewhere") / "var"))
    with Stack(folder) as running:
        yield running.start("redis", "worker", "web")


@contextmanager
def while_it_runs(page: Page, stack: Stack, prompt: str) -> Iterator[None]:
    """Freeze a text in progress until the block ends."""
    begin(page, prompt, length=WHOLE)
    wait_for_frames(page, 1)
    stack.freeze("worker")
    try:
        yield
    finally:
        stack.send("worker", signal.SIGCONT)


def stop(page: Page, stack: Stack) -> None:
    """Press Stop, and wait until the row has the request."""
    page.bring_to_front()
    page.get_by_role("button", name="Stop").click()
    running = "SELECT cancel_requested AS wish FROM generator_generation WHERE state = 'running'"
    wait_until(lambda: stack.rows(running) == [{"wish": 1}], "the row has the request to stop", 5)


def test_stop_works_after_a_sign_up_and_after_a_sign_in_in_another_tab(
    page: Page, context: BrowserContext, stack: Stack
) -> None:
    other = context.new_page()
    with while_it_runs(page, stack, "Signed up meanwhile"):
        with page.expect_event("websocket"):  # the page reconnects with its new cookies
            name = new_account(other)
        expect(output(page)).to_have_attribute("data-socket", "open")
        stop(page, stack)
    wait_for_end(page, "cancelled")
    assert 0 < len(exported(page)["text"]) < WHOLE

    other.get_by_role("button", name="Sign out").click()
    expect(other.get_by_role("link", name="Sign in")).to_be_visible()
    with while_it_runs(page, stack, "Signed in meanwhile"):
        sign_in(other, name)
        stop(page, stack)  # at once: the page may not have noticed yet
    wait_for_end(page, "cancelled")
    other.goto("/history/")
    expect(other.locator("[data-row]")).to_have_count(2)


def test_a_sign_out_in_another_tab_ends_the_page_once_and_for_all(
    page: Page, context: BrowserContext, stack: Stack
) -> None:
    other = context.new_page()
    new_account(other)
    with while_it_runs(page, stack, "Signed out meanwhile"):
        sockets: list[str] = []
        page.on("websocket", lambda socket: sockets.append(socket.url))
        other.get_by_role("button", name="Sign out").click()
        status = page.get_by_role("status").first
        expect(status).to_contain_text("belongs to another account or visitor")
        expect(output(page)).to_have_attribute("data-socket", "ended")
        page.wait_for_timeout(3_000)  # longer than any pause between two tries
        assert len(sockets) == 1  # one try, and no more


def test_the_forms_of_a_page_from_before_the_sign_in_work(
    page: Page, context: BrowserContext
) -> None:
    other = context.new_page()
    begin(page, "Run me again", length=10)
    wait_for_end(page)
    page.goto("/history/")
    detail, desk = context.new_page(), context.new_page()
    detail.goto(page.locator("[data-row] a").get_attribute("href") or "")
    desk.goto("/")
    new_account(other)
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url("**/generations/**")
    wait_for_end(page)
    detail.get_by_role("button", name="Replay this seed").click()
    wait_until(lambda: "/generations/" in detail.url, "the replay's page")
    expect(detail.locator("[data-verdict=identical]")).to_be_visible()
    prompt_field(desk).fill("From an old desk")
    desk.get_by_label("Length", exact=True).fill("10")
    send(desk)
    wait_for_end(desk)
    other.goto("/history/")
    expect(other.locator("[data-row]")).to_have_count(4)


def test_a_page_whose_cookies_are_gone_renews_its_token(
    page: Page, context: BrowserContext, problems: list[str]
) -> None:
    page.goto("/")
    prompt_field(page).fill("Kept and sent again")
    page.get_by_label("Length", exact=True).fill("10")
    context.clear_cookies()
    send(page)
    wait_for_end(page)
    assert exported(page)["prompt"] == "Kept and sent again"
    page.goto("/history/")
    expect(page.locator("[data-row]")).to_have_count(1)
    assert all("403" in problem for problem in problems)
    problems.clear()


def test_without_scripts_an_old_desk_comes_back_with_what_was_typed(
    browser: Browser, stack: Stack
) -> None:
    with browser.new_context(base_url=stack.base_url, java_script_enabled=False) as context:
        page, other = context.new_page(), context.new_page()
        page.goto("/")
        prompt_field(page).fill("Typed before the sign-up")
        page.get_by_label("Length", exact=True).fill("33")
        new_account(other)
        send(page)
        expect(page.get_by_role("alert")).to_contain_text("too old")
        expect(prompt_field(page)).to_have_value("Typed before the sign-up")
        expect(page.get_by_label("Length", exact=True)).to_have_value("33")
        send(page)
        page.wait_for_url(PERMALINK)
