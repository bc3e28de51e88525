"""What people do on the pages, and what they see there."""

from __future__ import annotations

import hashlib
from typing import Any

from playwright.sync_api import Locator, Page, expect

PASSWORD = "correct horse battery"
LONG = 5_000  # characters: the most the settings allow, so that a text is still being written when a test looks


def output(page: Page) -> Locator:
    """Return the sheet with the text, whose data attributes tell how far it is."""
    return page.locator("[data-output]")


def fact(page: Page, name: str) -> int:
    """Return a number of the sheet: frames, offset or length."""
    return int(output(page).get_attribute(f"data-{name}") or 0)


def begin(page: Page, prompt: str, *, length: int = 300, **settings: str) -> None:
    """Fill in the desk and submit it. Settings are named by their labels."""
    page.goto("/")
    page.get_by_label("The start of the text").fill(prompt)
    fold = page.get_by_role("button", name="Settings")  # there is none on a wide page
    if fold.is_visible():
        fold.click()
    for label, value in {"Length": str(length), **settings}.items():
        page.get_by_label(label, exact=True).fill(value)
    if fold.is_visible():
        fold.click()
    page.get_by_role("button", name="Continue the text").click()


def wait_for_frames(page: Page, count: int) -> None:
    """Wait until this many handfuls of characters have come over the socket."""
    page.wait_for_function(
        "count => Number(document.querySelector('[data-output]').dataset.frames) >= count",
        arg=count,
    )


def wait_for_end(page: Page, state: str = "done") -> None:
    """Wait until the text on the sheet has ended in this state, all of it shown."""
    expect(output(page)).to_have_attribute("data-socket", "ended", timeout=60_000)
    expect(output(page)).to_have_attribute("data-state", state)


def shown_text(page: Page) -> str:
    """Return what the model wrote, as it stands on the sheet."""
    return page.locator("[data-text]").text_content() or ""


def exported(page: Page) -> dict[str, Any]:
    """Return the row of the generation at the page's address, by its JSON export."""
    answer = page.request.get(f"{page.url}export.json")
    assert answer.ok, answer.status
    row: dict[str, Any] = answer.json()
    assert row["sha256"] == hashlib.sha256(row["text"].encode()).hexdigest()
    return row


def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    width: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return width


def fill_in_sign_up(page: Page, name: str) -> Locator:
    """Fill in the page to sign up, and return the button that sends it."""
    page.goto("/accounts/signup/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password:", exact=True).fill(PASSWORD)
    page.get_by_label("Password confirmation").fill(PASSWORD)
    return page.get_by_role("button", name="Make the account")


def sign_up(page: Page, name: str) -> None:
    """Make an account and be signed in."""
    fill_in_sign_up(page, name).click()
    expect(page.get_by_text(f"Signed in as {name}")).to_be_visible()


def sign_in(page: Page, name: str) -> None:
    """Sign in to an account that was made by `sign_up`."""
    page.goto("/accounts/login/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(page.get_by_text(f"Signed in as {name}")).to_be_visible()
