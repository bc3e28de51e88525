"""What the desk does with a form that the server refuses, or that does not reach it."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.e2e.pages import (
    begin,
    client_key,
    exported,
    post_texts,
    prompt_field,
    send,
    shown_text,
    wait_for_end,
)


def test_errors_stand_at_their_fields_and_the_first_gets_the_focus(
    page: Page, problems: list[str]
) -> None:
    begin(page, "Once upon a time", length=0, Temperature="99", Seed="1.5")
    length = page.get_by_label("Length", exact=True)
    expect(length).to_be_focused()
    for name in ("Length", "Temperature", "Seed"):
        field = page.get_by_label(name, exact=True)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_accessible_description(
            re.compile(rf"{name} is a .*number from 0|{name} is a whole number from 1 to 20,000")
        )
    expect(prompt_field(page)).to_have_value("Once upon a time")
    expect(page).to_have_url(re.compile("/$"))
    assert all("400" in problem for problem in problems)
    problems.clear()

    length.fill("20")
    page.get_by_label("Temperature", exact=True).fill("0.5")
    page.get_by_label("Seed", exact=True).fill("")
    send(page)
    wait_for_end(page)
    assert page.locator("[aria-invalid=true]").count() == 0


def test_an_error_under_more_opens_it(page: Page, problems: list[str]) -> None:
    page.goto("/")
    page.locator("[data-more] summary").click()
    page.get_by_label("Top-p").fill("7")
    page.locator("[data-more] summary").click()
    send(page)
    expect(page.get_by_label("Top-p")).to_be_focused()
    problems.clear()


def test_after_its_parent_was_deleted_a_text_is_sent_without_one(
    page: Page, problems: list[str]
) -> None:
    begin(page, "Orphan", length=30)
    wait_for_end(page)
    token = page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    gone = page.request.post(
        f"{page.url}delete/", form={"csrfmiddlewaretoken": token}, headers={"Referer": page.url}
    )
    assert gone.ok
    page.get_by_role("button", name="Edit the prompt").click()
    again = page.get_by_role("button", name="Continue the text")
    again.click()
    expect(page.get_by_role("alert")).to_have_text(
        "The parent must be the id of one of your texts."
    )
    address = page.url
    again.click()
    page.wait_for_url(lambda url: url != address)
    wait_for_end(page)
    problems.clear()


def test_a_full_queue_names_one_time_to_wait(page: Page, problems: list[str]) -> None:
    body = '{"errors": {"__all__": ["Very many texts are waiting."]}}'
    page.route(
        "**/generations/",
        lambda route: route.fulfill(status=503, body=body, headers={"Retry-After": "15"}),
    )
    begin(page, "Once")
    expect(page.get_by_role("alert")).to_have_text("Very many texts are waiting.")
    offer = page.get_by_label(re.compile(r"Send it again automatically in 1[567] s"))
    expect(offer).to_be_visible()
    problems.clear()


def test_a_refused_form_is_sent_again_automatically_if_the_reader_wants(
    page: Page, problems: list[str]
) -> None:
    body = '{"errors": {"__all__": ["You have sent 60 texts within a minute."]}}'
    refusals = [429, 429]

    def refuse_twice(route: Route) -> None:
        if refusals:
            return route.fulfill(status=refusals.pop(), body=body, headers={"Retry-After": "9"})
        route.continue_()

    page.clock.install()
    page.route("**/generations/", refuse_twice)
    begin(page, "Patience", length=40)
    alert = page.get_by_role("alert")
    offer = page.get_by_label(re.compile("Send it again automatically in (9|10|11) s"))
    expect(alert).to_have_text("You have sent 60 texts within a minute.")
    expect(alert).to_be_focused()
    expect(offer).not_to_be_checked()
    page.clock.fast_forward(12_000)
    expect(alert).to_have_text("You can send it again now.")
    expect(offer).to_be_hidden()
    expect(prompt_field(page)).to_have_value("Patience")

    send(page)
    offer.check()
    prompt_field(page).fill("More patience")
    page.clock.fast_forward(12_000)
    page.clock.resume()
    wait_for_end(page)
    assert exported(page)["prompt"] == "More patience"
    problems.clear()


def test_a_refusal_keeps_the_text_and_each_button_has_a_submit_of_its_own(
    page: Page, problems: list[str]
) -> None:
    sent: list[tuple[str, str]] = []

    def refuse(route: Route) -> None:
        sent.append((route.request.url.rstrip("/").rsplit("/", 1)[1], client_key(route)))
        route.fulfill(
            status=429, body='{"errors": {"__all__": ["Too many."]}}', headers={"Retry-After": "30"}
        )

    begin(page, "Once more", length=30)
    wait_for_end(page)
    text = shown_text(page)
    page.route(re.compile("/(again|continue)/$"), refuse)
    for name in ("Continue", "Continue", "Replay this seed"):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("alert")).to_have_text("Too many.")
        expect(page.locator("form[aria-busy]")).to_have_count(0)
    assert [where for where, _ in sent] == ["continue", "continue", "again"]
    assert sent[0] == sent[1]
    assert sent[2][1] != sent[0][1]
    assert shown_text(page) == text
    problems.clear()


def test_a_visitor_with_too_many_texts_sees_them_and_may_stop_one(
    page: Page, problems: list[str]
) -> None:
    page.goto("/")
    post_texts(page, 4)
    prompt_field(page).fill("The fifth")
    page.get_by_label("Length", exact=True).fill("30")
    submit = page.get_by_role("button", name="Continue the text")
    submit.click()
    expect(page.get_by_role("alert")).to_have_text(
        "You have 4 texts being written. Wait for one to end, or stop one."
    )
    expect(page.get_by_text("in 5 s")).to_have_count(1)
    rows = page.locator("[data-active-list] li")
    expect(rows).to_have_count(4)
    expect(rows.nth(1).get_by_role("link")).to_have_text("Number 1")
    link = rows.nth(1).get_by_role("link").get_attribute("href")
    rows.nth(1).get_by_role("button", name="Stop Number 1").click()
    expect(rows).to_have_count(3)
    expect(page.get_by_role("alert")).to_have_text("You can send it again now.")
    expect(page.locator("[data-retry]")).to_be_hidden()
    submit.click()
    wait_for_end(page)
    assert exported(page)["prompt"] == "The fifth"
    expect(page.locator("[data-active]")).to_be_hidden()
    page.goto(str(link))
    expect(page.locator("[data-status]")).to_have_text(re.compile("Stopped after|Done, 20,000"))
    problems.clear()


def test_a_lost_answer_keeps_the_prompt_and_the_retry_makes_one_text(
    page: Page, problems: list[str]
) -> None:
    keys: list[str] = []

    def lose_the_answer(route: Route) -> None:
        keys.append(client_key(route))
        if len(keys) == 1:
            route.fetch()
            return route.abort()
        route.continue_()

    page.route("**/generations/", lose_the_answer)
    begin(page, "In the beginning", length=40)
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(prompt_field(page)).to_have_value("In the beginning")
    problems.clear()
    send(page)
    wait_for_end(page)
    assert keys[0] == keys[1]
    page.goto("/history/")
    expect(page.locator("[data-row]")).to_have_count(1)
