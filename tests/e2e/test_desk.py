"""The desk: a prompt is typed, and its text is watched as it grows."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.pages import (
    LONG,
    begin,
    exported,
    fact,
    output,
    shown_text,
    wait_for_end,
    wait_for_frames,
)

PERMALINK = re.compile(r"/generations/[0-9a-f-]{36}/$")


def test_characters_arrive_live_survive_a_reload_and_can_be_replayed(page: Page) -> None:
    begin(page, "It was the best of times, it was the", length=LONG)
    wait_for_frames(page, 3)
    expect(page).to_have_url(PERMALINK)
    expect(page.locator("[data-status]")).to_have_text("Generating")
    expect(page.locator("[data-prompt]")).to_have_text("It was the best of times, it was the")
    assert 0 < fact(page, "offset") < LONG
    part = shown_text(page)

    page.reload()
    wait_for_end(page)
    expect(page.locator("[data-status]")).to_have_text(f"Done, {LONG:,} characters")
    row = exported(page)
    assert len(row["text"]) == LONG
    assert shown_text(page) == row["text"]
    assert row["text"].startswith(part)
    assert part

    page.get_by_role("button", name="Replay this seed").click()
    page.wait_for_url(lambda url: row["id"] not in url)
    wait_for_end(page)
    expect(page.locator("[data-verdict]")).to_have_attribute("data-verdict", "identical")
    replay = exported(page)
    assert (replay["seed"], replay["sha256"]) == (row["seed"], row["sha256"])
    assert replay["id"] != row["id"]
    assert shown_text(page) == row["text"]


def test_stop_keeps_what_was_written(page: Page) -> None:
    begin(page, "The whale", length=LONG)
    wait_for_frames(page, 1)
    page.get_by_role("button", name="Stop").click()
    wait_for_end(page, "cancelled")
    row = exported(page)
    assert (row["state"], row["finish_reason"]) == ("cancelled", "cancelled")
    assert 0 < len(row["text"]) < LONG
    assert shown_text(page) == row["text"]
    expect(page.locator("[data-status]")).to_have_text(
        f"Stopped after {len(row['text']):,} characters"
    )
    expect(page.get_by_role("button", name="Generate again")).to_be_focused()


def test_generate_again_uses_what_is_shown_and_replay_what_was(page: Page) -> None:
    begin(page, "Call me")
    wait_for_end(page)
    first = exported(page)
    primary = page.locator(".button-primary:visible")
    expect(primary).to_have_text(["Generate again"])

    page.get_by_label("Temperature", exact=True).fill("0.2")
    page.get_by_label("Length", exact=True).fill("120")
    primary.click()
    page.wait_for_url(lambda url: first["id"] not in url)
    wait_for_end(page)
    second = exported(page)
    assert (second["prompt"], second["temperature"], second["length"]) == ("Call me", 0.2, 120)
    assert second["seed"] != first["seed"]
    assert shown_text(page) == second["text"]
    expect(page.get_by_text("Made from an earlier text.")).to_be_visible()

    page.get_by_label("Length", exact=True).fill("33")
    page.get_by_role("button", name="Replay this seed").click()
    page.wait_for_url(lambda url: second["id"] not in url)
    wait_for_end(page)
    expect(page.locator("[data-verdict]")).to_have_attribute("data-verdict", "identical")
    assert exported(page)["sha256"] == second["sha256"]

    page.reload()
    expect(page.locator(".button-primary:visible")).to_have_text(["Another like it"])
    address = page.url
    page.get_by_role("button", name="Another like it").click()
    page.wait_for_url(lambda url: url != address)
    wait_for_end(page)
    third = exported(page)
    assert (third["temperature"], third["length"]) == (0.2, 120)
    assert third["seed"] != second["seed"]


def test_after_the_parent_was_deleted_the_next_try_goes_without(
    page: Page, problems: list[str]
) -> None:
    begin(page, "Orphan", length=30)
    wait_for_end(page)
    token = page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    gone = page.request.post(
        f"{page.url}delete/", form={"csrfmiddlewaretoken": token}, headers={"Referer": page.url}
    )
    assert gone.ok
    again = page.get_by_role("button", name="Generate again")
    again.click()
    expect(page.get_by_role("alert")).to_have_text("The parent is the id of a text of yours.")
    address = page.url
    again.click()
    page.wait_for_url(lambda url: url != address)
    wait_for_end(page)
    problems.clear()


def test_settings_reach_the_model_and_a_64_bit_seed_is_kept_exactly(page: Page) -> None:
    begin(
        page, "Mr. Darcy", length=120, Temperature="0.35", **{"Top-k": "7", "Seed": str(2**64 - 1)}
    )
    wait_for_end(page)
    row = exported(page)
    assert (row["length"], row["temperature"], row["top_k"], row["seed"]) == (
        120,
        0.35,
        7,
        str(2**64 - 1),
    )
    expect(page.get_by_text(f"seed {2**64 - 1}")).to_be_visible()


def test_the_prompt_can_be_edited_after_a_text(page: Page) -> None:
    begin(page, "The old man", length=50)
    wait_for_end(page)
    page.get_by_role("button", name="Edit the prompt").click()
    prompt = page.get_by_label("The start of the text")
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
    expect(page.get_by_label("The start of the text")).to_have_value("Long ago")
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
    expect(page.get_by_label("The start of the text")).to_have_value("Long ago")
    expect(page.get_by_label("Temperature", exact=True)).to_have_value("0.4")
    page.go_forward()
    expect(page.locator("[data-details]")).to_be_visible()
    assert page.url == address
    page.go_back()
    page.get_by_role("button", name="Continue the text").click()
    wait_for_end(page)
    assert page.url != address
    assert exported(page)["length"] == 50


def test_back_after_a_reload_leads_through_texts_and_desks(page: Page) -> None:
    begin(page, "The first", length=30)
    wait_for_end(page)
    first = page.url
    page.get_by_role("button", name="Generate again").click()
    page.wait_for_url(lambda url: url != first)
    wait_for_end(page)
    page.reload()
    expect(page.locator("[data-details]")).to_be_visible()
    page.go_back()
    expect(page).to_have_url(first)
    expect(page.locator("[data-details]")).to_be_visible()
    assert shown_text(page) == exported(page)["text"]
    page.go_back()
    expect(page.get_by_label("The start of the text")).to_have_value("The first")


def test_escape_stops_on_the_desk_and_on_a_texts_page(page: Page) -> None:
    begin(page, "The whale", length=20_000)
    wait_for_frames(page, 1)
    stop = page.get_by_role("button", name="Stop", exact=True)
    expect(stop).to_have_attribute("aria-keyshortcuts", "Escape")
    page.evaluate(
        "document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', isComposing: true, bubbles: true }))"
    )
    page.keyboard.press("Shift+Escape")
    expect(stop).to_have_attribute("aria-disabled", "false")
    page.keyboard.press("Escape")
    wait_for_end(page, "cancelled")
    assert 0 < len(exported(page)["text"]) < 20_000
    expect(page.get_by_text("Enter sends, Esc stops.")).to_be_visible()

    begin(page, "The whale", length=20_000)
    wait_for_frames(page, 1)
    page.reload()
    page.locator("[data-confirm] summary").click()
    page.keyboard.press("Escape")  # closes the question and stops nothing
    expect(page.get_by_role("button", name="Delete it")).to_be_hidden()
    expect(stop).to_have_attribute("aria-disabled", "false")
    page.keyboard.press("Escape")
    wait_for_end(page, "cancelled")
    page.keyboard.press("Escape")  # nothing is left to stop
    expect(output(page)).to_have_attribute("data-state", "cancelled")


def test_characters_the_model_does_not_know_are_named(page: Page) -> None:
    begin(page, "Snow ☃ and 😀 fell", length=40)
    wait_for_end(page)
    notice = page.locator("[data-unknown]")
    expect(notice).to_be_visible()
    expect(notice).to_have_text("The model does not know ☃ 😀; it read each as an unknown symbol.")
    assert set(exported(page)["unknown_characters"]) == {"☃", "😀"}
    page.reload()
    expect(notice).to_have_text("The model does not know ☃ 😀; it read each as an unknown symbol.")


def test_markup_in_a_prompt_is_shown_as_text(page: Page) -> None:
    prompt = "<script>document.title = 'hacked'</script> {{ 7|add:7 }} <img src=x onerror=alert(1)> & so on"
    begin(page, prompt, length=20)
    wait_for_end(page)
    for path in (page.url, "/history/", "/"):
        page.goto(path)
        assert prompt[:40] in (page.locator(".prompt:visible").first.text_content() or "")
        assert page.title() != "hacked"
        assert page.locator("main script, main img").count() == 0


def test_an_empty_prompt_lets_the_model_begin(page: Page) -> None:
    begin(page, "", length=30)
    wait_for_end(page)
    assert len(shown_text(page)) == 30


def test_errors_stand_at_their_fields_and_the_first_has_the_focus(
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
    expect(page.get_by_label("The start of the text")).to_have_value("Once upon a time")
    expect(page).to_have_url(re.compile("/$"))
    assert all("400" in problem for problem in problems)
    problems.clear()

    length.fill("20")
    page.get_by_label("Temperature", exact=True).fill("0.5")
    page.get_by_label("Seed", exact=True).fill("")
    page.get_by_role("button", name="Continue the text").click()
    wait_for_end(page)
    assert page.locator("[aria-invalid=true]").count() == 0


def test_an_error_under_more_opens_it(page: Page, problems: list[str]) -> None:
    page.goto("/")
    page.locator("[data-more] summary").click()
    page.get_by_label("Top-p").fill("7")
    page.locator("[data-more] summary").click()
    page.get_by_role("button", name="Continue the text").click()
    expect(page.get_by_label("Top-p")).to_be_focused()
    problems.clear()


def test_a_full_house_is_said_with_one_time_to_wait(page: Page, problems: list[str]) -> None:
    body = '{"errors": {"__all__": ["Very many texts are waiting."]}}'
    page.route(
        "**/generations/",
        lambda route: route.fulfill(status=503, body=body, headers={"Retry-After": "15"}),
    )
    begin(page, "Once")
    expect(page.get_by_role("alert")).to_have_text("Very many texts are waiting.")
    expect(page.get_by_label(re.compile(r"Send it again by itself in 1[567] s"))).to_be_visible()
    problems.clear()


def test_what_was_refused_is_sent_again_by_itself_if_the_reader_wants(
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
    alert, offer = (
        page.get_by_role("alert"),
        page.get_by_label(re.compile("Send it again by itself in (9|10|11) s")),
    )
    expect(alert).to_have_text("You have sent 60 texts within a minute.")
    expect(alert).to_be_focused()
    expect(offer).not_to_be_checked()
    page.clock.fast_forward(12_000)
    expect(alert).to_have_text("You can send it again now.")
    expect(offer).to_be_hidden()
    expect(page.get_by_label("The start of the text")).to_have_value("Patience")

    page.get_by_role("button", name="Continue the text").click()
    offer.check()
    page.get_by_label("The start of the text").fill("More patience")
    page.clock.fast_forward(12_000)
    page.clock.resume()
    wait_for_end(page)
    assert exported(page)["prompt"] == "More patience"
    problems.clear()


def test_again_that_was_refused_keeps_the_text_and_each_button_its_own_submit(
    page: Page, problems: list[str]
) -> None:
    sent: list[tuple[str, str]] = []

    def refuse(route: Route) -> None:
        key = re.findall(r'name="client_key"\s+(\w+)', route.request.post_data or "")[0]
        sent.append((route.request.url.rstrip("/").rsplit("/", 1)[1], key))
        route.fulfill(
            status=429, body='{"errors": {"__all__": ["Too many."]}}', headers={"Retry-After": "30"}
        )

    begin(page, "Once more", length=30)
    wait_for_end(page)
    text = shown_text(page)
    page.route(re.compile("/(again|generations)/$"), refuse)
    for name in ("Generate again", "Generate again", "Replay this seed"):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("alert")).to_have_text("Too many.")
        expect(page.locator("form[aria-busy]")).to_have_count(0)
    assert [where for where, _ in sent] == ["generations", "generations", "again"]
    assert sent[0] == sent[1]
    assert sent[2][1] != sent[0][1]
    assert shown_text(page) == text
    problems.clear()


def test_who_has_too_many_texts_sees_them_and_may_stop_one(page: Page, problems: list[str]) -> None:
    page.goto("/")
    token = page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    # More than are written at once within a second or two, so that four of them are under way.
    for number in range(4):
        fields = {"prompt": f"Number {number}", "length": "20000", "csrfmiddlewaretoken": token}
        answer = page.request.post(
            "/generations/",
            form=fields,
            headers={"Accept": "application/json", "Referer": page.url},
        )
        assert answer.status == 201
    page.get_by_label("The start of the text").fill("The fifth")
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
        keys.append(re.findall(r'name="client_key"\s+(\w+)', route.request.post_data)[0])
        if len(keys) == 1:
            route.fetch()
            return route.abort()
        route.continue_()

    page.route("**/generations/", lose_the_answer)
    begin(page, "In the beginning", length=40)
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(page.get_by_label("The start of the text")).to_have_value("In the beginning")
    problems.clear()
    page.get_by_role("button", name="Continue the text").click()
    wait_for_end(page)
    assert keys[0] == keys[1]
    page.goto("/history/")
    expect(page.locator("[data-row]")).to_have_count(1)


def test_the_shortcut_works_from_a_setting(page: Page) -> None:
    page.goto("/")
    page.get_by_label("The start of the text").fill("Short")
    length = page.get_by_label("Length", exact=True)
    length.fill("25")
    length.press("Control+Enter")
    wait_for_end(page)
    assert fact(page, "offset") == 25
    expect(output(page)).to_be_visible()


def test_a_prompt_of_many_lines_is_counted_as_typed_and_stop_strings_may_hold_a_line_break(
    page: Page, problems: list[str]
) -> None:
    page.goto("/")
    limit = int(page.get_by_label("The start of the text").get_attribute("data-limit") or 0)
    prompt = (
        "\n".join("a" * (limit // 2)) + "b"
    )  # as long as may be; a browser sends each line break as two characters
    begin(page, prompt + "c", length=20)
    expect(page.locator("[data-counter]")).to_have_text(f"{limit + 1:,} of {limit:,}")
    expect(page.get_by_label("The start of the text")).to_have_attribute("aria-invalid", "true")
    problems.clear()  # the browser complains of the 400
    page.get_by_label("The start of the text").fill(prompt)
    expect(page.locator("[data-counter]")).to_have_text(f"{limit:,} of {limit:,}")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Stop strings").fill("\\n\\n\nzq\\\\\n")
    page.get_by_role("button", name="Continue the text").click()
    wait_for_end(page)
    row = exported(page)
    assert (row["prompt"], row["stop"]) == (prompt, ["\n\n", "zq\\"])

    page.reload()
    page.get_by_role("link", name="Edit and run").click()
    expect(page.get_by_label("Stop strings")).to_have_value("\\n\\n\nzq\\\\")
    page.get_by_role("button", name="Continue the text").click()
    wait_for_end(page)
    assert exported(page)["stop"] == row["stop"]
    expect(page.locator("[data-verdict]")).to_have_attribute("data-verdict", "identical")
