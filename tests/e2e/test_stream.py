"""A page and its socket: losses, repeats, breaks, waiting, refusals, and following a long text."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.e2e.pages import LONG, begin, exported, output, shown_text, wait_for_end


def test_a_socket_that_loses_repeats_and_breaks_shows_every_character_once(page: Page) -> None:
    sockets: list[str] = []

    def unreliable(route: WebSocketRoute) -> None:
        number, frames = len(sockets), 0
        sockets.append(route.url)
        server = route.connect_to_server()

        def forward(message: str | bytes) -> None:
            nonlocal frames
            frames += '"chars"' in str(message)
            if number == 0 and frames == 2:
                return  # lost
            if number == 1 and frames == 3:
                return route.close(code=1012)  # the server restarts
            route.send(message)
            route.send(message)  # repeated

        server.on_message(forward)

    page.route_web_socket(re.compile("/ws/"), unreliable)
    begin(page, "Alice was beginning", length=4 * LONG)
    wait_for_end(page)
    assert len(sockets) >= 3
    assert sockets[0].endswith("?after=0")
    assert not sockets[1].endswith("?after=0")
    assert shown_text(page) == exported(page)["text"]


def test_the_status_of_a_waiting_text_has_its_place_in_the_queue(page: Page) -> None:
    snapshot = {
        "type": "snapshot",
        "id": "",
        "offset": 0,
        "text": "",
        "state": "queued",
        "length": 40,
        "unknown_characters": "",
    }

    def waiting(route: WebSocketRoute) -> None:
        route.send(json.dumps({**snapshot, "queue_position": 4}))
        route.send(json.dumps({"type": "alive", "state": "queued", "queue_position": 3}))

    page.route_web_socket(re.compile("/ws/"), waiting)
    begin(page, "Patience", length=40)
    expect(page.locator("[data-status]")).to_have_text("Waiting for a worker (place 3)")
    expect(output(page)).to_have_attribute("data-state", "queued")


# After 4401 the page tries once more: the cookies of its browser may have changed.
@pytest.mark.parametrize(
    ("code", "words", "tries"),
    [(4400, "Reload it", 1), (4401, "Sign in again", 2), (4404, "no longer exists", 1)],
)
def test_a_final_refusal_is_explained_and_not_tried_again(
    page: Page, code: int, words: str, tries: int
) -> None:
    sockets: list[WebSocketRoute] = []

    def refuse(route: WebSocketRoute) -> None:
        sockets.append(route)
        route.close(code=code)

    page.route_web_socket(re.compile("/ws/"), refuse)
    begin(page, "Refused", length=10)
    expect(page.locator("[data-status]")).to_contain_text(words)
    expect(output(page)).to_have_attribute("data-socket", "ended")
    assert len(sockets) == tries


def test_a_page_too_many_says_so_and_goes_on_later_at_its_offset(page: Page) -> None:
    sockets: list[str] = []

    def crowded_once(route: WebSocketRoute) -> None:
        sockets.append(route.url)
        if len(sockets) == 1:
            route.close(code=4429)
        else:
            route.connect_to_server()

    page.clock.install()
    page.route_web_socket(re.compile("/ws/"), crowded_once)
    begin(page, "Crowded", length=100)
    status = page.locator("[data-status]")
    expect(status).to_have_text(
        re.compile(r"Too many texts are open at once.* tries again in (1\d|20) seconds\.")
    )
    expect(output(page)).to_have_attribute("data-socket", "reconnecting")
    page.clock.fast_forward(9_000)
    assert len(sockets) == 1
    page.clock.fast_forward(12_000)
    page.clock.resume()
    wait_for_end(page)
    assert len(sockets) == 2
    assert shown_text(page) == exported(page)["text"]


def test_a_page_disconnected_as_stalled_goes_on_at_its_offset(page: Page) -> None:
    sockets: list[str] = []

    def stalled_once(route: WebSocketRoute) -> None:
        sockets.append(route.url)
        server, number = route.connect_to_server(), len(sockets)
        server.on_message(
            lambda message: _until_chars(route, message) if number == 1 else route.send(message)
        )

    page.route_web_socket(re.compile("/ws/"), stalled_once)
    begin(page, "A slow line", length=LONG)
    wait_for_end(page)
    assert len(sockets) == 2
    assert not sockets[1].endswith("?after=0")
    assert shown_text(page) == exported(page)["text"]


def _until_chars(route: WebSocketRoute, message: str | bytes) -> None:
    route.send(message)
    if '"chars"' in str(message):
        route.close(code=4408)


def test_the_page_confirms_what_it_received_but_not_too_often(page: Page) -> None:
    said: list[int] = []

    def listen(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        route.on_message(
            lambda message: (said.append(json.loads(message)["offset"]), server.send(message))
        )

    page.route_web_socket(re.compile("/ws/"), listen)
    begin(page, "I hear you", length=20_000)
    wait_for_end(page)
    assert said == sorted(set(said))
    assert 2 <= len(said) <= 20
    assert said[0] >= 1000


def test_the_page_follows_the_end_until_its_reader_scrolls_up(page: Page) -> None:
    routes: list[WebSocketRoute] = []
    page.set_viewport_size({"width": 700, "height": 420})
    page.route_web_socket(re.compile("/ws/"), lambda route: routes.append(route))
    begin(page, "A long walk", length=LONG)
    expect(output(page)).to_have_attribute("data-socket", "connecting")

    def arrive(number: int) -> None:
        """Send the next of several pieces of text, and wait until it is shown."""
        text = "on and on " * 100
        routes[0].send(
            json.dumps(
                {"type": "chars", "offset": number * len(text), "text": text, "surprisal": []}
            )
        )
        page.wait_for_function(
            "n => document.querySelector('[data-text]').textContent.length === n",
            arg=(number + 1) * len(text),
        )

    jump = page.get_by_role("button", name="Jump to the end")
    arrive(0)
    page.wait_for_function("() => scrollY > 100")
    expect(page.locator("[data-caret]")).to_be_in_viewport()
    followed = page.evaluate("scrollY")
    arrive(1)
    page.wait_for_function("before => scrollY > before", arg=followed)
    expect(page.locator("[data-caret]")).to_be_in_viewport()
    expect(jump).to_be_hidden()

    page.mouse.move(300, 200)
    page.mouse.wheel(0, -400)
    expect(jump).to_be_visible()
    stayed = page.evaluate("scrollY")
    arrive(2)
    assert page.evaluate("scrollY") <= stayed
    jump.click()
    expect(jump).to_be_hidden()
    expect(page.locator("[data-caret]")).to_be_in_viewport()
    arrive(3)
    expect(page.locator("[data-caret]")).to_be_in_viewport()


def test_the_details_of_a_growing_text_keep_up_with_it(page: Page) -> None:
    length = 20_000
    begin(page, "Keep up", length=length)
    page.wait_for_url("**/generations/**")
    routes: list[WebSocketRoute] = []
    page.route_web_socket(re.compile("/ws/"), lambda route: routes.append(route))
    address = page.url
    page.goto("/history/")
    page.goto(address)
    written = page.locator("[data-written]")
    expect(output(page)).to_have_attribute("data-socket", "connecting")
    offset = int(output(page).get_attribute("data-offset") or 0)
    text = "on and on " * 150
    routes[0].send(json.dumps({"type": "chars", "offset": offset, "text": text, "surprisal": []}))
    expect(written).to_have_text(f"{offset + len(text):,}")
    expect(page.locator("[data-details]").get_by_text("of 20,000")).to_be_visible()
    expect(page.locator("[data-count]")).to_have_text(f"{offset + len(text):,} of 20,000")
