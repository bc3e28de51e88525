"""The desk: a reader types a prompt and watches its text grow."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.e2e.pages import (
    LONG,
    PERMALINK,
    begin,
    exported,
    fact,
    output,
    prompt_field,
    send,
    shown_text,
    wait_for_end,
    wait_for_frames,
)

COMPOSING_ESCAPE = """document.dispatchEvent(
  new KeyboardEvent("keydown", { key: "Escape", isComposing: true, bubbles: true }))"""
UNKNOWN = "The model does not know ☃ 😀; it read each as an unknown symbol."


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
    expect(page.get_by_role("button", name="Continue")).to_be_focused()


def test_escape_stops_on_the_desk_and_on_a_texts_page(page: Page) -> None:
    begin(page, "The whale", length=20_000)
    wait_for_frames(page, 1)
    stop = page.get_by_role("button", name="Stop", exact=True)
    expect(stop).to_have_attribute("aria-keyshortcuts", "Escape")
    page.evaluate(COMPOSING_ESCAPE)
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


def test_continue_uses_the_settings_shown_and_replay_those_of_the_text(page: Page) -> None:
    begin(page, "Call me")
    wait_for_end(page)
    first = exported(page)
    primary = page.locator(".button-primary:visible")
    expect(primary).to_have_text(["Continue"])

    page.get_by_label("Temperature", exact=True).fill("0.2")
    page.get_by_label("Length", exact=True).fill("120")
    primary.click()
    page.wait_for_url(lambda url: first["id"] not in url)
    wait_for_end(page)
    second = exported(page)
    assert second["prompt"] == "Call me" + first["text"]
    assert (second["temperature"], second["length"]) == (0.2, 120)
    assert (second["parent"], second["seed"] != first["seed"]) == (first["id"], True)
    assert page.locator("[data-prompt]").text_content() == second["prompt"]
    assert shown_text(page) == second["text"]
    expect(page.get_by_text("Continued from the text before it.")).to_be_visible()

    page.get_by_label("Length", exact=True).fill("33")
    page.get_by_role("button", name="Replay this seed").click()
    page.wait_for_url(lambda url: second["id"] not in url)
    wait_for_end(page)
    expect(page.locator("[data-verdict]")).to_have_attribute("data-verdict", "identical")
    assert exported(page)["sha256"] == second["sha256"]

    page.reload()
    expect(page.locator(".button-primary:visible")).to_have_text(["Continue"])
    address = page.url
    page.get_by_role("button", name="Another like it").click()
    page.wait_for_url(lambda url: url != address)
    wait_for_end(page)
    third = exported(page)
    assert (third["temperature"], third["length"]) == (0.2, 120)
    assert third["seed"] != second["seed"]


def test_settings_reach_the_model_and_a_64_bit_seed_stays_exact(page: Page) -> None:
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


def test_the_shortcut_works_from_a_setting(page: Page) -> None:
    page.goto("/")
    prompt_field(page).fill("Short")
    length = page.get_by_label("Length", exact=True)
    length.fill("25")
    length.press("Control+Enter")
    wait_for_end(page)
    assert fact(page, "offset") == 25
    expect(output(page)).to_be_visible()


def test_an_empty_prompt_lets_the_model_begin(page: Page) -> None:
    begin(page, "", length=30)
    wait_for_end(page)
    assert len(shown_text(page)) == 30


def test_characters_the_model_does_not_know_are_named(page: Page) -> None:
    begin(page, "Snow ☃ and 😀 fell", length=40)
    wait_for_end(page)
    notice = page.locator("[data-unknown]")
    expect(notice).to_be_visible()
    expect(notice).to_have_text(UNKNOWN)
    assert set(exported(page)["unknown_characters"]) == {"☃", "😀"}
    page.reload()
    expect(notice).to_have_text(UNKNOWN)


def test_a_prompt_of_many_lines_is_counted_as_typed_and_stop_strings_may_hold_a_line_break(
    page: Page, problems: list[str]
) -> None:
    page.goto("/")
    limit = int(prompt_field(page).get_attribute("data-limit") or 0)
    # As long as the limit allows. A browser sends each line break as two characters.
    prompt = "\n".join("a" * (limit // 2)) + "b"
    begin(page, prompt + "c", length=20)
    expect(page.locator("[data-counter]")).to_have_text(f"{limit + 1:,} of {limit:,}")
    expect(prompt_field(page)).to_have_attribute("aria-invalid", "true")
    problems.clear()  # the browser complains of the 400
    prompt_field(page).fill(prompt)
    expect(page.locator("[data-counter]")).to_have_text(f"{limit:,} of {limit:,}")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Stop strings").fill("\\n\\n\nzq\\\\\n")
    send(page)
    wait_for_end(page)
    row = exported(page)
    assert (row["prompt"], row["stop"]) == (prompt, ["\n\n", "zq\\"])

    page.reload()
    page.get_by_role("link", name="Edit and run").click()
    expect(page.get_by_label("Stop strings")).to_have_value("\\n\\n\nzq\\\\")
    send(page)
    wait_for_end(page)
    assert exported(page)["stop"] == row["stop"]
    expect(page.locator("[data-verdict]")).to_have_attribute("data-verdict", "identical")
