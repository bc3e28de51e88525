"""Our own words read from left to right beside foreign text with controls of direction."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.e2e.pages import begin, prompt_field, send, shown_text, sign_up, wait_for_end
from tests.stack import Stack

# Overrides and isolates without an end, and ends without a start.
HOSTILE = ("\u202ebe \u2066turned", "turned\u2069\u2069 round \u202enow", "\u2067שלום \u202dעולם")
HEBREW = "שלום"

# Finds each of our words whose letters do not run from left to right, and each that is not to the
# right of the foreign text before it.
ASTRAY = """() => {
  const foreign = "bdi, .prompt, .continuation, .text, .readonly, #user-tools strong, "
    + "textarea, input, select, .visually-hidden";
  const astray = (box, before) =>
    Math.abs(box.top - before.top) < 8 && box.left < before.left - 0.5;
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.parentElement.closest(foreign) || !node.data.trim()) continue;
    const boxes = [...node.data].flatMap((character, index) => {
      if (!/\\S/.test(character)) return [];
      const range = new Range();
      range.setStart(node, index);
      range.setEnd(node, index + 1);
      const box = range.getBoundingClientRect();
      return box.width ? [box] : [];
    });
    const previous = node.previousSibling;
    const before = previous?.matches?.(foreign) && [...previous.getClientRects()].at(-1);
    if (before && boxes.length) boxes.unshift(new DOMRect(before.right - 1, boxes[0].top, 1, 1));
    if (boxes.some((box, i) => i && astray(box, boxes[i - 1]))) found.push(node.data.trim());
  }
  return found;
}"""


# Returns where each letter of our name stands in the title. A browser shows titles as plain text,
# so an element shows this one for the moment.
TITLE = """() => {
  const element = document.body.appendChild(document.createElement("p"));
  element.textContent = document.title;
  const text = element.firstChild, from = text.data.lastIndexOf("CharRNN Live");
  const lefts = [...text.data.slice(from)].map((_, i) => {
    const range = new Range();
    range.setStart(text, from + i);
    range.setEnd(text, from + i + 1);
    return range.getBoundingClientRect().left;
  });
  element.remove();
  return lefts;
}"""


def in_order(page: Page) -> None:
    """Check that our own words, on the page and in its title, run from left to right."""
    assert page.evaluate(ASTRAY) == [], page.url
    lefts = page.evaluate(TITLE)
    assert lefts == sorted(lefts), page.title()


@pytest.mark.parametrize("prompt", HOSTILE)
def test_our_words_stay_in_their_place_beside_a_hostile_prompt(
    page: Page, problems: list[str], prompt: str
) -> None:
    page.goto("/")
    page.locator("[data-more] summary").click()
    page.get_by_label("Stop strings").fill(prompt)
    prompt_field(page).fill(prompt)
    page.get_by_label("Length", exact=True).fill("90")
    send(page)
    wait_for_end(page)
    assert page.locator("[data-prompt]").text_content() == prompt
    expect(page.locator("[data-unknown]")).to_be_visible()
    in_order(page)
    page.reload()
    expect(page.locator("[data-unknown]")).to_be_visible()
    in_order(page)
    for path in ("/", "/history/", f"/?from={page.url.rstrip('/').rsplit('/', 1)[1]}"):
        page.goto(path)
        in_order(page)

    texts = [{"id": "1", "url": "/x/", "cancel": "/x/cancel/", "excerpt": prompt}] * 2
    refusal = json.dumps(
        {"errors": {"__all__": ["You have 2 texts being written."]}, "active": texts}
    )
    page.route(
        "**/generations/",
        lambda route: route.fulfill(status=429, body=refusal, headers={"Retry-After": "5"}),
    )
    begin(page, prompt)
    expect(page.locator("[data-cancel]")).to_have_count(2)
    in_order(page)
    problems.clear()


def test_an_error_that_quotes_input_and_a_text_turn_nothing_round(page: Page) -> None:
    text = f"one {HOSTILE[0]}\n{HOSTILE[1]}"
    frames = (
        {
            "type": "chars",
            "offset": 0,
            "text": text,
            "surprisal": [],
            "unknown_characters": "\u202eא☃",
        },
        {
            "type": "end",
            "state": "failed",
            "finish_reason": "error",
            "error": HOSTILE[1],
            "length": len(text),
            "sha256": "",
            "stats": {"queued": 0, "first_character": 0, "writing": 0, "characters_per_second": 5},
        },
    )

    def fail(route: WebSocketRoute) -> None:
        for frame in frames:
            route.send(json.dumps(frame))

    page.route_web_socket(re.compile("/ws/"), fail)
    begin(page, "It begins")
    expect(page.locator("[data-status]")).to_contain_text("Failed after")
    expect(page.locator("[data-unknown]")).to_have_text(
        "The model does not know U+202E א ☃; it read each as an unknown symbol."
    )
    assert shown_text(page) == text
    in_order(page)
    status = page.locator("[data-status]").text_content() or ""
    assert status == f"Failed after {len(text)} characters: \u2068turned round now\u2069"


def test_a_name_and_the_admin(page: Page, stack: Stack) -> None:
    sign_up(page, HEBREW)
    in_order(page)
    for prompt in (HOSTILE[0], "Z" + "\u0488" * 60):  # the latter breaks nowhere
        begin(page, prompt, length=20)
        wait_for_end(page)
    make_staff = (
        f"User.objects.filter(username={HEBREW!r}).update(is_staff=True, is_superuser=True)"
    )
    stack.manage("shell", "-c", f"from django.contrib.auth.models import User; {make_staff}")
    # Nothing is cut off: each list shows its last column.
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 800})
        for name in ("modelversion", "generation", "promotion", "worker"):
            page.goto(f"/admin/generator/{name}/")
            in_order(page)
            table = page.locator("#changelist .results")
            assert table.evaluate("box => box.scrollWidth - box.clientWidth") <= 0, (
                f"{name} at {width} px"
            )
            page.locator("#result_list tbody th a").first.click()
            page.wait_for_url("**/change/")
            in_order(page)
            if name == "modelversion":
                page.get_by_role("link", name="History").click()
                expect(
                    page.get_by_role("heading", name="What happened to this version")
                ).to_be_visible()
                assert (
                    page.locator(".results").evaluate("box => box.scrollWidth - box.clientWidth")
                    <= 0
                ), width
