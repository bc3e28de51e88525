"""Reading and submitting work without JavaScript."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.pages import PERMALINK, post_texts, prompt_field, send
from tests.stack import Stack, wait_until


@pytest.fixture
def plain(browser: Browser, stack: Stack) -> Iterator[Page]:
    """A tab without JavaScript."""
    with browser.new_context(base_url=stack.base_url, java_script_enabled=False) as context:
        yield context.new_page()


def test_a_whole_visit(plain: Page) -> None:
    plain.goto("/")
    assert plain.get_by_text("Copy text").is_hidden()
    prompt_field(plain).fill("\nIn plain HTML")
    plain.get_by_label("Length", exact=True).fill("1000")
    send(plain)
    plain.wait_for_url(PERMALINK)
    wait_until(
        lambda: plain.get_by_text("Done, 1,000 characters").count() or not plain.reload(),
        "the text is done",
    )
    row = plain.request.get(f"{plain.url}export.json").json()
    assert row["prompt"] == "\nIn plain HTML"
    assert plain.locator("[data-text]").text_content() == row["text"]

    with plain.expect_navigation():
        plain.get_by_role("button", name="Replay this seed").click()
    wait_until(
        lambda: plain.reload() and plain.locator("[data-verdict=identical]").count(),
        "the replay is proven",
    )
    plain.goto("/history/")
    expect(plain.locator("[data-row]")).to_have_count(2)
    plain.locator("[data-row] summary").first.click()
    plain.get_by_role("button", name="Delete it").first.click()
    expect(plain.locator("[data-row]")).to_have_count(1)


def test_deleting_from_a_page_of_a_search_returns_there_and_run_again_leads_back(
    plain: Page, stack: Stack
) -> None:
    plain.goto("/")
    plain.get_by_label("Length", exact=True).fill("1")
    prompt_field(plain).fill("L'ÉTÉ & 50%")
    send(plain)
    plain.wait_for_url(PERMALINK)
    copy_row(stack, plain.url.rstrip("/").rpartition("/")[2], 21)
    plain.goto("/history/")
    plain.get_by_label("Search in prompts and texts").fill("été & 50%")
    plain.get_by_role("button", name="Search").click()
    expect(plain.locator("[data-count]")).to_contain_text("22 texts found")
    plain.get_by_role("link", name="Older").click()
    searched = plain.url
    with plain.expect_navigation(url=re.compile("/generations/")):
        plain.get_by_role("button", name="Run again").first.click()
    plain.go_back()
    assert plain.url == searched
    rows = plain.locator("[data-row]")
    for left in (2, 1):
        expect(rows).to_have_count(left + 1)
        rows.last.locator("summary").click()
        rows.last.get_by_role("button", name="Delete it").click()
        expect(plain.get_by_role("main").get_by_text("The text was deleted.")).to_be_visible()
        expect(plain.get_by_label("Search in prompts and texts")).to_have_value("été & 50%")
        expect(plain.get_by_text("Page 2 of 2")).to_be_visible()
    rows.last.locator("summary").click()
    rows.last.get_by_role("button", name="Delete it").click()
    # The second page is gone.
    expect(plain.locator("[data-count]")).to_contain_text("20 texts found")
    expect(rows).to_have_count(20)


def copy_row(stack: Stack, generation_id: str, times: int) -> None:
    """Put copies of a text into the database: the limits forbid to send so many."""
    with contextlib.closing(sqlite3.connect(stack.data_dir / "db.sqlite3", timeout=20)) as database:
        database.row_factory = sqlite3.Row
        wait_until(
            lambda: database.execute(
                "SELECT 1 FROM generator_generation WHERE id = ? AND folded NOT NULL",
                key(generation_id),
            ).fetchone(),
            "the text has ended",
        )
        row = dict(
            database.execute(
                "SELECT * FROM generator_generation WHERE id = ?", key(generation_id)
            ).fetchone()
        )
        columns, marks = ", ".join(row), ", ".join("?" * len(row))
        for _ in range(times):
            copied = {**row, "id": uuid.uuid4().hex, "client_key": ""}
            database.execute(
                f"INSERT INTO generator_generation ({columns}) VALUES ({marks})",
                tuple(copied.values()),
            )
        database.commit()


def key(generation_id: str) -> tuple[str]:
    """Return a row's id as SQLite stores it."""
    return (generation_id.replace("-", ""),)


def test_stop(plain: Page) -> None:
    plain.goto("/")
    plain.get_by_label("Length", exact=True).fill("5000")
    with plain.expect_navigation():
        send(plain)
    expect(plain.get_by_label("Pace")).to_be_hidden()
    stop = plain.get_by_role("button", name="Stop")
    if stop.count():  # else the text has ended already
        with plain.expect_navigation():
            stop.click()
    ended = re.compile(r"(Stopped after|Done,) [\d,]+ characters")
    wait_until(
        lambda: plain.reload() and ended.search(plain.get_by_role("status").first.inner_text()),
        "it has stopped",
    )
    expect(plain.get_by_role("button", name="Another like it")).to_be_visible()


def test_errors_come_back_at_their_fields_with_what_was_typed(plain: Page) -> None:
    plain.goto("/")
    prompt_field(plain).fill("Keep me")
    plain.get_by_label("Length", exact=True).fill("0")
    send(plain)
    length = plain.get_by_label("Length", exact=True)
    expect(length).to_be_focused()
    expect(length).to_have_attribute("aria-invalid", "true")
    expect(length).to_have_accessible_description(
        re.compile(r"Length is a whole number from 1 to 20,000\.")
    )
    expect(prompt_field(plain)).to_have_value("Keep me")


def test_a_prompt_of_many_lines_may_reach_the_limit_and_stop_strings_come_back(
    plain: Page,
) -> None:
    plain.goto("/")
    limit = int(prompt_field(plain).get_attribute("data-limit") or 0)
    prompt = "\n".join("a" * (limit // 2))  # sent as half as many characters again
    prompt_field(plain).fill(prompt)
    plain.get_by_label("Length", exact=True).fill("20")
    plain.get_by_text("More", exact=True).click()
    plain.get_by_label("Stop strings").fill("\\n\\n\n\\odd")
    send(plain)
    stops = plain.get_by_label("Stop strings")
    expect(stops).to_have_accessible_description(
        re.compile("A backslash in a stop string stands before n")
    )
    expect(stops).to_have_value("\\n\\n\n\\odd")
    stops.fill("\\n\\n\nodd")
    with plain.expect_navigation(url=PERMALINK):
        send(plain)
    row = plain.request.get(f"{plain.url}export.json").json()
    assert (row["prompt"], row["stop"]) == (prompt, ["\n\n", "odd"])


def test_a_phone_has_its_submit_in_view_and_its_settings_open(plain: Page) -> None:
    plain.set_viewport_size({"width": 360, "height": 740})
    plain.goto("/")
    expect(plain.get_by_role("button", name="Continue the text")).to_be_in_viewport(ratio=1)
    expect(plain.get_by_label("Length", exact=True)).to_be_visible()
    expect(plain.get_by_role("button", name="Settings")).to_be_hidden()


def test_a_visitor_with_too_many_texts_may_stop_one_and_keeps_what_was_typed(plain: Page) -> None:
    plain.goto("/")
    post_texts(plain, 4)
    prompt_field(plain).fill("The fifth")
    plain.get_by_label("Length", exact=True).fill("30")
    send(plain)
    expect(plain.get_by_role("alert")).to_have_text(
        re.compile("You have 4 texts being written.*Try again in 5 seconds.")
    )
    expect(plain.locator("[data-active-list] li")).to_have_count(4)
    plain.get_by_role("button", name="Stop Number 1").click()
    expect(plain.get_by_role("alert")).to_have_text(
        "That text was stopped. You can send yours now."
    )
    expect(prompt_field(plain)).to_have_value("The fifth")
    # Enter presses the button that sends, not a Stop.
    plain.get_by_label("Length", exact=True).press("Enter")
    plain.wait_for_url(PERMALINK)
    expect(plain.locator("[data-prompt]")).to_have_text("The fifth")
