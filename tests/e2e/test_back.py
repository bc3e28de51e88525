"""Between a text and its prompt: the button that leads back, and the browser's Back and Forward."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.pages import PERMALINK, begin, exported, prompt_field, send, shown_text, wait_for_end


def test_the_prompt_can_be_edited_after_a_text(page: Page) -> None:
    begin(page, "The old man", length=50)
    wait_for_end(page)
    page.get_by_role("button", name="Edit the prompt").click()
    prompt = prompt_field(page)
    expect(prompt).to_be_focused()
    expect(prompt).to_have_value("The old man")
    expect(page).to_have_url(re.compile("/$"))
    prompt.fill("The young man")
    prompt.press("Control+Enter")
    page.wait_for_url(PERMALINK)
    wait_for_end(page)
    assert exported(page)["prompt"] == "The young man"


def test_back_leads_from_a_text_to_its_prompt(page: Page) -> None:
    begin(page, "Long ago", length=50)
    wait_for_end(page)
    page.go_back()
    expect(prompt_field(page)).to_have_value("Long ago")
    page.go_forward()
    expect(page.locator("[data-details]")).to_be_visible()
    assert exported(page)["prompt"] == "Long ago"


@pytest.mark.parametrize("away", [False, True], ids=["reload", "reload, away and back"])
def test_back_after_a_reload_leads_to_the_desk_with_what_was_typed(page: Page, away: bool) -> None:
    begin(page, "Long ago", length=50, Temperature="0.4")
    wait_for_end(page)
    address = page.url
    page.reload()
    expect(page.locator("[data-details]")).to_be_visible()
    if away:
        page.get_by_role("link", name="History").click()
        expect(page.get_by_role("heading", name="History")).to_be_visible()
        page.go_back()
        expect(page.locator("[data-details]")).to_be_visible()
    page.go_back()
    expect(page).to_have_url(re.compile("/$"))
    expect(page.locator("[data-details]")).to_have_count(0)
    expect(prompt_field(page)).to_have_value("Long ago")
    expect(page.get_by_label("Temperature", exact=True)).to_have_value("0.4")
    page.go_forward()
    expect(page.locator("[data-details]")).to_be_visible()
    assert page.url == address
    page.go_back()
    send(page)
    wait_for_end(page)
    assert page.url != address
    assert exported(page)["length"] == 50


def test_back_after_a_reload_leads_through_texts_and_desks(page: Page) -> None:
    begin(page, "The first", length=30)
    wait_for_end(page)
    first = page.url
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(lambda url: url != first)
    wait_for_end(page)
    page.reload()
    expect(page.locator("[data-details]")).to_be_visible()
    page.go_back()
    expect(page).to_have_url(first)
    expect(page.locator("[data-details]")).to_be_visible()
    assert shown_text(page) == exported(page)["text"]
    page.go_back()
    expect(prompt_field(page)).to_have_value("The first")
