"""Visitors and accounts: whose texts are whose, and what others see of them."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.e2e.pages import PASSWORD, begin, exported, fill_in_sign_up, wait_for_end
from tests.stack import Stack


def test_two_visitors_do_not_see_each_other(page: Page, stack: Stack) -> None:
    begin(page, "My secret diary", length=30)
    wait_for_end(page)
    path = page.url.removeprefix(stack.base_url)
    other = stack.visitor()
    other.submit(prompt="Somebody else", length=10)
    assert "My secret diary" not in other.get("/history/").text
    assert "My secret diary" not in other.get("/").text
    assert [other.get(path + end).status_code for end in ("", "export.txt", "export.json")] == [
        404,
        404,
        404,
    ]
    assert [other.post(path + end).status_code for end in ("cancel/", "again/")] == [404, 404]
    assert "That text is no longer in your history." in other.post(path + "delete/").text
    page.goto("/history/")
    expect(page.locator("[data-row]")).to_have_count(1)
    assert exported_after_return(page)["prompt"] == "My secret diary"


def exported_after_return(page: Page) -> dict[str, object]:
    page.locator("[data-row] a").click()
    page.wait_for_url("**/generations/**")
    return exported(page)


def test_signing_up_takes_a_visitors_texts_along_and_signing_out_leaves_them(page: Page) -> None:
    begin(page, "Written before the account", length=30)
    wait_for_end(page)
    page.get_by_role("link", name="Sign up").click()
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password:", exact=True).fill(PASSWORD)
    page.get_by_label("Password confirmation").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_text("Signed in as ada")).to_be_visible()
    page.get_by_role("link", name="History").click()
    expect(page.locator("[data-row]")).to_contain_text("Written before the account")

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()
    page.goto("/history/")
    expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()

    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.goto("/history/")
    expect(page.locator("[data-row]")).to_have_count(1)


def test_sign_in_and_sign_up_say_what_is_wrong_and_lead_there(
    page: Page, problems: list[str]
) -> None:
    page.goto("/accounts/login/")
    username = page.get_by_label("Username")
    username.fill("nobody")
    page.get_by_label("Password").fill("nothing")
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("correct username and password")
    expect(username).to_be_focused()
    expect(username).to_have_accessible_description(re.compile("correct username and password"))

    page.goto("/accounts/signup/")
    first, second = (
        page.get_by_label("Password:", exact=True),
        page.get_by_label("Password confirmation"),
    )
    for passwords, words in (
        (("12345678", "12345678"), "too common"),
        ((PASSWORD, PASSWORD + "!"), "match"),
    ):
        username.fill("bob")
        first.fill(passwords[0])
        second.fill(passwords[1])
        page.get_by_role("button", name="Create account").click()
        expect(page.get_by_text(words, exact=False).last).to_be_visible()
        expect(first).to_be_focused()
        expect(first).to_have_attribute("aria-invalid", "true")
        expect(first).to_have_accessible_description(re.compile(words))
        expect(page.locator("[autofocus]")).to_have_count(1)
    username.fill("no spaces")
    first.fill(PASSWORD)
    second.fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(username).to_be_focused()
    expect(username).to_have_accessible_description(re.compile("valid username"))
    problems.clear()  # the browser reports the 400


def test_double_clicks_end_where_one_click_does(page: Page) -> None:
    begin(page, "Clicked twice", length=30)
    wait_for_end(page)
    fill_in_sign_up(page, "twice").dblclick()
    expect(page.get_by_text("Signed in as twice")).to_be_visible()
    page.goto("/history/")
    expect(page.locator("[data-row]")).to_have_count(1)
    page.get_by_role("button", name="Run again").dblclick()
    page.wait_for_url("**/generations/**")
    page.goto("/history/")
    expect(page.locator("[data-row]")).to_have_count(2)
    page.locator("[data-row] summary").first.click()
    page.get_by_role("button", name="Delete it").first.dblclick()
    expect(page.get_by_role("status").first).to_contain_text(re.compile("was deleted|no such text"))
    expect(page.locator("[data-row]")).to_have_count(1)
