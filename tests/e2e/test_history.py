"""The history: texts are found, read, run again, saved and deleted."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.e2e.pages import begin, exported, prompt_field, send, shown_text, wait_for_end


def test_an_empty_history_says_what_to_do(page: Page) -> None:
    page.goto("/history/")
    expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    page.get_by_role("main").get_by_role("link", name="Begin a text").click()
    expect(page.get_by_role("button", name="Continue the text")).to_be_visible()


def test_search_filter_and_delete(page: Page) -> None:
    for prompt in ("The first apple", "The second pear"):
        begin(page, prompt, length=30)
        wait_for_end(page)
    page.goto("/history/")
    rows = page.locator("[data-row]")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("The second pear")
    expect(rows.first).to_contain_text("Done")
    expect(rows.first).to_contain_text("30 characters")

    page.get_by_label("Search in prompts and texts").fill("APPLE")
    page.get_by_role("button", name="Search").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("The first apple")

    page.get_by_label("State").select_option("Stopped")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    page.get_by_role("link", name="Show all", exact=True).click()
    expect(rows).to_have_count(2)

    rows.first.locator("summary").click()
    rows.first.get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("main").get_by_text("The text was deleted.")).to_be_visible()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("The first apple")


def test_filter_by_version(page: Page) -> None:
    page.goto("/")
    version = page.get_by_label("Model version")
    numbers = [
        value
        for value in version.locator("option").evaluate_all("all => all.map(one => one.value)")
        if value
    ]
    assert len(numbers) >= 2
    oldest, newest = numbers[-1], numbers[0]
    prompt_field(page).fill("By the old one")
    page.get_by_label("Length", exact=True).fill("20")
    version.select_option(oldest)
    send(page)
    wait_for_end(page)
    assert str(exported(page)["model"]["version"]) == oldest
    page.goto(f"/history/?version={oldest}")
    expect(page.locator("[data-row]")).to_have_count(1)
    page.goto(f"/history/?version={newest}")
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()


def test_run_again_from_the_history(page: Page) -> None:
    begin(page, "Over the hills", length=30)
    wait_for_end(page)
    first = exported(page)
    page.goto("/history/")
    page.get_by_role("button", name="Run again").click()
    wait_for_end(page)
    second = exported(page)
    assert second["prompt"] == first["prompt"]
    assert second["id"] != first["id"]


def test_a_text_can_be_edited_saved_and_deleted_from_its_page(page: Page) -> None:
    begin(page, "A quiet evening", length=60, Seed="77")
    wait_for_end(page)
    page.reload()
    row = exported(page)
    expect(page.locator("[data-fact=sha256]")).to_have_text(row["sha256"])
    expect(page.locator("[data-fact=seed]")).to_have_text("77")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as text").click()
    assert download.value.path().read_text(encoding="utf-8") == row["prompt"] + row["text"]

    address = page.url
    page.get_by_role("link", name="Edit and run").click()
    expect(prompt_field(page)).to_have_value("A quiet evening")
    expect(page.get_by_label("Seed")).to_have_value("77")
    send(page)
    wait_for_end(page)
    assert shown_text(page) == row["text"]
    expect(page.locator("[data-verdict]")).to_have_attribute("data-verdict", "identical")

    page.goto(address)
    page.locator("[data-confirm] summary").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Delete it")).to_be_hidden()
    page.locator("[data-confirm] summary").click()
    page.get_by_role("button", name="Delete it").click()
    page.wait_for_url(re.compile("/history/$"))
    assert page.request.get(address).status == 404


def test_copy_text_and_link(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    begin(page, "To copy", length=30)
    wait_for_end(page)
    page.get_by_role("button", name="Copy text").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "To copy" + exported(page)["text"]
    page.get_by_role("button", name="Copy link").click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()) === location.href")
