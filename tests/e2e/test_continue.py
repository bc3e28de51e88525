"""One text that goes on: on the desk, on its own page, and without scripts."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.e2e.pages import begin, exported, output, prompt_field, send, shown_text, wait_for_end
from tests.stack import Stack, wait_until


def leads_on(page: Page, before: dict[str, Any]) -> dict[str, Any]:
    """Wait for the end of a text that continues the one `before`, and return it."""
    page.wait_for_url(lambda url: before["id"] not in url)
    wait_for_end(page)
    after = row_of(page)
    assert (after["parent"], after["fork_offset"]) == (before["id"], len(after["prompt"]))
    assert after["prompt"] == before["prompt"] + before["text"]
    assert page.locator("[data-prompt]").text_content() == after["prompt"]
    assert shown_text(page) == after["text"]
    return after


def row_of(page: Page) -> dict[str, Any]:
    """Return the row at the page's address, which may lead to a part of the page."""
    answer = page.request.get(f"{page.url.partition('#')[0]}export.json")
    row: dict[str, Any] = answer.json()
    return row


def test_on_the_desk_a_text_goes_on_by_click_and_by_key_and_back_leads_to_what_it_was(
    page: Page,
) -> None:
    begin(page, "The sea was", length=60)
    wait_for_end(page)
    rows = [exported(page)]
    page.get_by_role("button", name="Continue", exact=True).click()
    rows.append(leads_on(page, rows[-1]))
    page.get_by_label("Length", exact=True).fill("40")
    page.get_by_label("Length", exact=True).press("Control+Enter")
    rows.append(leads_on(page, rows[-1]))
    assert [len(row["text"]) for row in rows] == [60, 60, 40]
    for row in (rows[1], rows[0]):
        page.go_back()
        expect(page.locator("[data-details]")).to_be_visible()
        assert exported(page)["id"] == row["id"]
        assert page.locator("[data-continuations] a").count() == 1
    page.go_back()
    expect(prompt_field(page)).to_have_value("The sea was")


def test_on_its_own_page_a_text_goes_on_by_click_and_by_key_and_shows_where_it_goes_on(
    page: Page,
) -> None:
    begin(page, "A long road ☃", length=3_000)
    wait_for_end(page)
    first = exported(page)
    page.reload()
    page.get_by_label("Length", exact=True).fill("50")
    page.get_by_role("button", name="Continue", exact=True).click()
    second = leads_on(page, first)
    expect(page.locator("[data-text]")).to_be_in_viewport()
    assert len(second["text"]) == 50
    output(page).press("Control+Enter")
    third = leads_on(page, second)
    assert len(third["text"]) == 50
    page.get_by_role("link", name="the text before it").click()
    link = page.locator("[data-continuations] a")
    expect(link).to_have_text(third["text"].strip())
    page.go_back()
    expect(page.locator("[data-details]")).to_be_visible()
    assert row_of(page)["id"] == third["id"]
    page.get_by_role("button", name="Another like it").click()
    page.wait_for_url(lambda url: third["id"] not in url)
    wait_for_end(page)
    other = row_of(page)
    assert (other["parent"], other["prompt"]) == (second["id"], third["prompt"])
    assert other["seed"] != third["seed"]


def test_without_scripts_a_text_goes_on(browser: Browser, stack: Stack) -> None:
    with browser.new_context(base_url=stack.base_url, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto("/")
        prompt_field(page).fill("In plain HTML")
        page.get_by_label("Length", exact=True).fill("30")
        send(page)
        ended = lambda: page.get_by_text("Done, 30 characters").count() or not page.reload()  # noqa: E731
        wait_until(ended, "the text is done")
        first = row_of(page)
        page.get_by_role("button", name="Continue", exact=True).click()
        page.wait_for_url(lambda url: first["id"] not in url)
        wait_until(ended, "its continuation is done")
        leads_on(page, first)
