"""WCAG 2.2 AA as far as machines can tell, the keyboard alone, and narrow windows.

docs/accessibility.md has the rest.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.e2e.pages import begin, exported, overflow, prompt_field, shown_text, wait_for_end

GROWING = {
    "type": "chars",
    "offset": 0,
    "text": "and on",
    "surprisal": [],
    "unknown_characters": "☃\u202e",
}
NARROW = {"width": 360, "height": 740}
SCHEMES = ("light", "dark")
# Links inside sentences may be smaller.
SMALL = """all => all
  .filter(one => !one.matches("p a, .skip"))
  .map(one => ({ text: one.textContent.trim(), box: one.getBoundingClientRect() }))
  .filter(({ box }) => box.height < 24 || box.width < 24)
  .map(({ text, box }) => `${text}: ${box.width} × ${box.height}`)"""


def no_violations(page: Page) -> None:
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, f"{page.url}\n{found.generate_report()}"
    assert overflow(page) <= 0, f"{page.url} is {overflow(page)} px too wide"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
def test_every_page_passes_axe_and_fits(page: Page, scheme: str, narrow: bool) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    if narrow:
        page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    for path in ("/", "/history/", "/accounts/login/", "/accounts/signup/"):
        page.goto(path)
        no_violations(page)
    begin(page, f"{'Donaudampfschifffahrt' * 5} ☃", length=40)
    wait_for_end(page)
    no_violations(page)
    page.reload()
    no_violations(page)
    for path in ("/", "/history/", "/history/?q=nothing-like-this"):
        page.goto(path)
        no_violations(page)


@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
def test_errors_pass_axe(page: Page, problems: list[str], narrow: bool) -> None:
    if narrow:
        page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    begin(page, "x", length=0, Temperature="99", **{"Top-k": "0", "Seed": "-1"})
    expect(page.get_by_label("Length", exact=True)).to_be_focused()
    no_violations(page)
    problems.clear()


@pytest.mark.parametrize("size", [NARROW, {"width": 1280, "height": 800}], ids=["narrow", "wide"])
def test_a_growing_text_a_refusal_and_open_settings_pass_axe(
    page: Page, problems: list[str], size: Any
) -> None:
    page.set_viewport_size(size)
    page.route_web_socket(re.compile("/ws/"), lambda route: route.send(json.dumps(GROWING)))
    begin(page, "It begins ☃", length=400)
    expect(page.locator("[data-status]")).to_have_text("Generating")
    no_violations(page)
    texts = [
        {"id": "1", "url": "/x/", "cancel": "/x/cancel/", "excerpt": excerpt}
        for excerpt in ("One", "A" * 60, "")
    ]
    refusal = json.dumps(
        {"errors": {"__all__": ["You have 3 texts being written."]}, "active": texts}
    )
    page.route(
        "**/generations/",
        lambda route: route.fulfill(status=429, body=refusal, headers={"Retry-After": "5"}),
    )
    begin(page, "It begins", length=400)
    expect(page.locator("[data-cancel]")).to_have_count(3)
    no_violations(page)
    fold = page.get_by_role("button", name="Settings")
    if fold.is_visible():
        fold.click()
    no_violations(page)
    problems.clear()


def tab_to(page: Page, target: Locator, limit: int = 40) -> None:
    """Press Tab until the target has the focus, and check that the focus is visible."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            outline = target.evaluate("element => getComputedStyle(element).outlineStyle")
            assert outline != "none", "the focus is invisible"
            return
    raise AssertionError(f"Tab does not reach {target}")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_whole_visit_by_keyboard_on_a_narrow_page(page: Page, scheme: str) -> None:
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto("/")
    expect(prompt_field(page)).to_be_focused()
    page.keyboard.type("By keyboard alone")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Settings")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Length", exact=True)).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("60")
    tab_to(page, page.get_by_role("button", name="Continue the text"))
    page.keyboard.press("Enter")
    wait_for_end(page)
    assert overflow(page) <= 0
    first = exported(page)
    assert (first["prompt"], len(first["text"])) == ("By keyboard alone", 60)

    tab_to(page, page.get_by_role("button", name="Replay this seed"))
    page.keyboard.press("Space")
    page.wait_for_url(lambda url: first["id"] not in url)
    wait_for_end(page)
    assert shown_text(page) == first["text"]

    page.goto("/history/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    rows = page.locator("[data-row]")
    tab_to(page, rows.first.locator("summary"))
    page.keyboard.press("Enter")
    tab_to(page, rows.first.get_by_role("button", name="Delete it"))
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    tab_to(page, rows.first.get_by_role("link"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/generations/**")
    assert exported(page)["id"] == first["id"]


def test_targets_are_large_enough(page: Page) -> None:
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    begin(page, "Small", length=20)
    wait_for_end(page)
    for path in ("/", "/history/", page.url):
        page.goto(path)
        controls = page.locator(
            "a:visible, button:visible, input:visible, select:visible, summary:visible"
        )
        small = controls.evaluate_all(SMALL)
        assert small == []


def test_reduced_motion_shows_characters_as_they_come(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    begin(page, "Calmly", length=200)
    wait_for_end(page)
    assert shown_text(page) == exported(page)["text"]
    assert page.evaluate("document.getAnimations().length") == 0
