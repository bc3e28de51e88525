"""The reader's pace: how fast a text is shown that is written faster."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, WebSocketRoute, expect

from tests.e2e.pages import begin, exported, fact, output, shown_text, wait_for_end
from tests.e2e.test_accessibility import SMALL, no_violations
from tests.e2e.test_layout import NARROW, WATCH, WIDE, late, nothing_moved

BEHIND = "Written"
SENTENCES = ["“Well,” said he. ", "She stayed.\n", "And"]
# Collects what the sheet shows after each change of it.
STATES = """
  window.states = [];
  addEventListener("DOMContentLoaded", () => {
    const text = document.querySelector("[data-text]");
    const look = () => text.textContent && states.push(text.textContent);
    new MutationObserver(look).observe(text, { characterData: true, subtree: true });
  });
"""


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A tab of a browser in which no pace was chosen so far."""
    tab = context.new_page()
    tab.goto("/")
    tab.evaluate("localStorage.pace = ''")
    return tab


def choose(page: Page, pace: str) -> None:
    page.get_by_label("Pace").select_option(pace)


def test_a_text_is_shown_at_a_pace_that_can_change_and_is_remembered(page: Page) -> None:
    begin(page, "Not so fast", length=400)
    expect(page.locator("[data-status]")).to_have_text(BEHIND)
    expect(page.get_by_label("Pace")).to_have_value("60")
    expect(page.locator("[data-count]")).to_have_text(re.compile(r"^Showing \d+ of 400$"))
    assert fact(page, "offset") == 400
    assert len(shown_text(page)) < 400
    expect(page.get_by_role("button", name="Continue", exact=True)).to_be_enabled()
    choose(page, "instant")
    wait_for_end(page)
    expect(page.locator("[data-status]")).to_have_text("Done, 400 characters")
    assert shown_text(page) == exported(page)["text"]

    page.reload()
    assert shown_text(page) == exported(page)["text"]  # at once, as of every text opened later
    expect(page.get_by_label("Pace")).to_have_count(0)
    begin(page, "As before", length=20)
    wait_for_end(page)
    expect(page.get_by_label("Pace")).to_have_value("instant")


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_space_bar_pauses_an_arrow_steps_and_end_shows_all(page: Page, size: Any) -> None:
    page.set_viewport_size(size)
    begin(page, "One by one", length=400)
    expect(output(page)).to_be_focused()
    expect(page.locator("[data-status]")).to_have_text(BEHIND)
    page.keyboard.press("Space")
    expect(page.locator("[data-status]")).to_have_text("Paused")
    pause = page.get_by_role("button", name="Pause")
    expect(pause).to_have_attribute("aria-pressed", "true")
    no_violations(page)
    assert page.locator(".pace button, .pace select").evaluate_all(SMALL) == []
    before = shown_text(page)
    page.keyboard.press("ArrowRight")
    assert len(shown_text(page)) == len(before) + 1
    page.get_by_role("button", name="One more").click()
    assert len(shown_text(page)) == len(before) + 2
    pause.click()
    expect(page.locator("[data-status]")).to_have_text(BEHIND)
    page.keyboard.press("Space")  # of the button that has the focus
    expect(page.locator("[data-status]")).to_have_text("Paused")
    page.keyboard.press("End")
    wait_for_end(page)
    assert shown_text(page) == exported(page)["text"]
    expect(page.get_by_role("button", name="Continue", exact=True)).to_be_focused()


def test_reduced_motion_shows_whole_sentences(page: Page) -> None:
    text = "".join(SENTENCES)
    frames = (
        {"type": "chars", "offset": 0, "text": text[:20], "surprisal": []},
        {"type": "chars", "offset": 20, "text": text[20:], "surprisal": []},
        {"type": "end", "state": "done", "length": len(text), "error": "", "stats": {}},
    )

    def write(route: WebSocketRoute) -> None:
        for frame in frames:
            route.send(json.dumps(frame))

    page.emulate_media(reduced_motion="reduce")
    page.add_init_script(STATES)
    page.route_web_socket(re.compile("/ws/"), write)
    begin(page, "Calmly", length=len(text))
    wait_for_end(page)
    assert page.evaluate("states") == list(itertools.accumulate(SENTENCES))


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_nothing_moves_at_a_pace(page: Page, size: Any) -> None:
    page.set_viewport_size(size)
    page.evaluate("localStorage.pace = '250'")
    page.add_init_script(WATCH)
    page.route("**/generations/", late)
    begin(page, "The whale", length=400)
    wait_for_end(page)
    nothing_moved(page)
