"""What people do on the pages, and what they see there.

A `site` is the address before a path, where it is not the one that the browser context knows.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

PASSWORD = "correct horse battery"
LONG = 5_000  # characters; so many are still being written when a test looks
PERMALINK = re.compile(r"/generations/[0-9a-f-]{36}/$")


def show_at_once(context: BrowserContext) -> None:
    """Let the pages of a browser show a text as fast as it comes, as its reader chose before.

    A page without an address, on which every tab begins, has nowhere to remember it.
    """
    context.add_init_script("if (location.origin !== 'null') localStorage.pace ??= 'instant';")


def output(page: Page) -> Locator:
    """Return the sheet with the text, whose data attributes tell how far it is."""
    return page.locator("[data-output]")


def fact(page: Page, name: str) -> int:
    """Return a number of the sheet: frames, offset or length."""
    return int(output(page).get_attribute(f"data-{name}") or 0)


def prompt_field(page: Page) -> Locator:
    """Return the field of the desk in which the text begins."""
    return page.get_by_label("The start of the text")


def send(page: Page) -> None:
    """Press the button of the desk that sends the prompt."""
    page.get_by_role("button", name="Continue the text").click()


def begin(page: Page, prompt: str, *, length: int = 300, **settings: str) -> None:
    """Fill in the desk and submit it. Settings are named by their labels."""
    page.goto("/")
    prompt_field(page).fill(prompt)
    fold = page.get_by_role("button", name="Settings")  # there is none on a wide page
    if fold.is_visible():
        fold.click()
    for label, value in {"Length": str(length), **settings}.items():
        page.get_by_label(label, exact=True).fill(value)
    if fold.is_visible():
        fold.click()
    send(page)


def post_texts(page: Page, count: int) -> None:
    """Send texts of the greatest length, "Number 0" and on, behind the back of the open page."""
    token = page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    for number in range(count):
        answer = page.request.post(
            "/generations/",
            form={"prompt": f"Number {number}", "length": "20000", "csrfmiddlewaretoken": token},
            headers={"Accept": "application/json", "Referer": page.url},
        )
        assert answer.status == 201


def client_key(route: Route) -> str:
    """Return the key that a form was sent with."""
    return str(re.findall(r'name="client_key"\s+(\w+)', route.request.post_data or "")[0])


def wait_for_frames(page: Page, count: int) -> None:
    """Wait until the socket has brought this many frames with characters."""
    page.wait_for_function(
        "count => Number(document.querySelector('[data-output]').dataset.frames) >= count",
        arg=count,
    )


def wait_for_end(page: Page, state: str = "done") -> None:
    """Wait until the text on the sheet has ended in this state and is shown whole."""
    expect(output(page)).to_have_attribute("data-socket", "ended", timeout=60_000)
    expect(output(page)).to_have_attribute("data-state", state)


def shown_text(page: Page) -> str:
    """Return what the sheet shows of the model's text."""
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


def fill_in_sign_up(page: Page, name: str, site: str = "") -> Locator:
    """Fill in the sign-up page and return its button."""
    page.goto(f"{site}/accounts/signup/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password:", exact=True).fill(PASSWORD)
    page.get_by_label("Password confirmation").fill(PASSWORD)
    return page.get_by_role("button", name="Create account")


def sign_up(page: Page, name: str, site: str = "") -> None:
    """Create an account, which also signs in."""
    fill_in_sign_up(page, name, site).click()
    expect(page.get_by_text(f"Signed in as {name}")).to_be_visible()


def sign_in(page: Page, name: str) -> None:
    """Sign in to an account that `sign_up` created."""
    page.goto("/accounts/login/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(page.get_by_text(f"Signed in as {name}")).to_be_visible()
