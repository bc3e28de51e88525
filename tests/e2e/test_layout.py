"""Nothing moves by itself while a text is written, and a phone keeps its controls in reach."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.pages import begin, exported, output, send, shown_text, wait_for_end, wait_for_frames

WIDE = {"width": 1280, "height": 800}
NARROW = {"width": 360, "height": 740}
LIMIT = 0.01  # cumulative layout shift; up to 0.1 counts as good

# Collects what moves without an action of the reader, and where Stop stands in each frame.
WATCH = """
  window.moved = [];
  const named = ({ node }) => `${node?.className || node?.nodeName}`;
  new PerformanceObserver(list => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput)
      moved.push([entry.value, ...entry.sources.map(named)]);
  }).observe({ type: "layout-shift", buffered: true });
  window.places = new Set();
  const look = () => {
    const stop = document.querySelector("[data-stop]");
    if (stop?.checkVisibility()) {
      const { x, y, width, height } = stop.getBoundingClientRect();
      places.add([x, y, width, height].join(" "));
    }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
"""


def settle(page: Page) -> None:
    """Let two frames pass, in which the end of the text takes effect."""
    page.evaluate(
        """new Promise(done => requestAnimationFrame(() =>
             requestAnimationFrame(() => setTimeout(done, 100))))"""
    )


def nothing_moved(page: Page) -> None:
    settle(page)
    moved: list[list[Any]] = page.evaluate("moved")
    total = sum(entry[0] for entry in moved)
    print(f"\n{page.viewport_size}: layout shift {total:.4f} in {len(moved)}")
    assert total < LIMIT, moved
    assert len(page.evaluate("[...places]")) == 1, page.evaluate("[...places]")


def late(route: Route) -> None:
    """Answer so late that the browser no longer blames the click for what moves."""
    time.sleep(0.7)
    route.continue_()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize(
    ("prompt", "length"), [("The whale", 5_000), ("Snow ☃ fell", 60)], ids=["long", "short"]
)
def test_nothing_moves_from_submit_to_the_end(
    page: Page, size: Any, prompt: str, length: int
) -> None:
    page.set_viewport_size(size)
    page.add_init_script(WATCH)
    page.route("**/generations/", late)
    begin(page, prompt, length=length)
    wait_for_end(page)
    nothing_moved(page)
    last = page.locator("[data-after] button:visible").last
    expect(last).to_be_in_viewport(ratio=0.9)
    expect(page.get_by_role("button", name="Continue")).to_be_in_viewport(ratio=1)
    assert shown_text(page) == exported(page)["text"]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_nothing_moves_on_a_texts_own_page_while_it_grows(page: Page, size: Any) -> None:
    page.set_viewport_size(size)
    begin(page, "The whale", length=20_000)
    wait_for_frames(page, 2)
    address = page.url
    page.goto("/history/")
    page.add_init_script(WATCH)
    page.goto(address)
    expect(output(page)).to_have_attribute("data-state", "running")
    wait_for_end(page)
    nothing_moved(page)


def test_a_phone_has_its_submit_in_view_and_its_settings_a_touch_away(
    page: Page,
) -> None:
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    page.goto("/")
    submit = page.get_by_role("button", name="Continue the text")
    length = page.get_by_label("Length", exact=True)
    expect(submit).to_be_in_viewport(ratio=1)
    expect(length).to_be_hidden()
    settings = page.get_by_role("button", name="Settings")
    settings.click()
    expect(settings).to_have_attribute("aria-expanded", "true")
    expect(length).to_be_in_viewport()
    expect(submit).to_be_in_viewport(ratio=1)
    settings.click()
    expect(length).to_be_hidden()


def test_an_error_in_a_folded_setting_unfolds_it(page: Page, problems: list[str]) -> None:
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    page.goto("/")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Length", exact=True).fill("0")
    page.get_by_role("button", name="Settings").click()
    send(page)
    expect(page.get_by_label("Length", exact=True)).to_be_focused()
    said = page.get_by_text("Length is a whole number from 1 to 20,000.").bounding_box()
    dock = page.locator(".submit-row").bounding_box()
    assert said is not None
    assert dock is not None
    assert said["y"] + said["height"] <= dock["y"]
    problems.clear()
