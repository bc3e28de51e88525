"""Two copies of the product on one host. A browser's cookies do not tell ports apart."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Browser, expect

from tests.e2e.pages import begin, show_at_once, sign_up, wait_for_end
from tests.stack import Stack


def test_what_one_copy_does_leaves_the_other_alone(
    browser: Browser, stack: Stack, make_stack: Callable[..., Stack]
) -> None:
    other = make_stack("redis", "web", SECRET_KEY="of the other copy, as each makes its own")
    with browser.new_context(base_url=stack.base_url) as context:
        show_at_once(context)
        page, elsewhere = context.new_page(), context.new_page()
        begin(page, "Kept beside another copy", length=30)
        wait_for_end(page)
        elsewhere.goto(other.base_url)
        page.goto("/history/")
        expect(page.locator("[data-row]")).to_contain_text("Kept beside another copy")

        sign_up(elsewhere, "beside", other.base_url)

        begin(page, "And written afterwards", length=30)
        wait_for_end(page)
        page.goto("/history/")
        expect(page.locator("[data-row]")).to_have_count(2)
        page.locator("[data-row]", has_text="Kept beside").locator("summary").click()
        page.locator("[data-row]", has_text="Kept beside").get_by_role(
            "button", name="Delete it"
        ).click()
        expect(page.get_by_text("The text was deleted.")).to_be_visible()
        elsewhere.goto(other.base_url)
        expect(elsewhere.get_by_text("Signed in as beside")).to_be_visible()
