"""Take the README's pictures from a running copy of the site and write them to docs/img/.

    python tools/screenshots.py [http://127.0.0.1:8000]

`make run` starts a copy; it needs no other one beside it.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, WebSocketRoute, sync_playwright

IMAGES = Path(__file__).parent.parent / "docs" / "img"
WIDE = {"width": 1200, "height": 760}
NARROW = {"width": 360, "height": 740}
PROMPTS = (
    "It was a bright morning in the middle of June, and",
    "Call me Ishmael. Some years ago",
    '"My dear Mr. Bennet," said his lady to him one day, "have you heard',
)
SEED = "1860"
UNDER_WAY = 480  # characters, enough to fill the sheet


def write(page: Page, prompt: str, length: int) -> None:
    """Submit a prompt on the desk."""
    page.goto("/")
    page.get_by_label("The start of the text").fill(prompt)
    fold = page.get_by_role("button", name="Settings")  # on a phone
    if fold.is_visible():
        fold.click()
    page.get_by_label("Length", exact=True).fill(str(length))
    page.get_by_label("Seed", exact=True).fill(SEED)
    if fold.is_visible():
        fold.click()
    page.get_by_role("button", name="Continue the text").click()


def streaming(page: Page, name: str) -> None:
    """Take a picture of the desk while characters arrive.

    Further characters are held back, so that the page does not scroll while the picture is taken.
    """

    def hold(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        server.on_message(
            lambda message: (
                route.send(message)
                if json.loads(message).get("offset", 2_000) <= UNDER_WAY
                else None
            )
        )
        server.on_close(lambda code, reason: None)

    page.route_web_socket(re.compile("/ws/"), hold)
    write(page, PROMPTS[0], 2_000)
    page.wait_for_function(
        """n => {
            const { offset } = document.querySelector("[data-output]").dataset;
            const shown = document.querySelector("[data-text]").textContent.length;
            return offset > n && shown == offset;
        }""",
        arg=UNDER_WAY,
    )
    page.wait_for_timeout(500)  # until the compositor has drawn the last frame
    page.screenshot(path=IMAGES / name)


def take(browser: Browser, address: str) -> None:
    """Take all pictures."""
    for scheme in ("light", "dark"):
        with browser.new_context(
            base_url=address, viewport=WIDE, color_scheme=scheme, device_scale_factor=2
        ) as context:
            streaming(context.new_page(), f"desk-{scheme}.png")
            if scheme == "light":
                page = context.new_page()
                for prompt in PROMPTS:
                    write(page, prompt, 400)
                    page.wait_for_selector("[data-output][data-socket=ended]")
                page.goto("/history/")
                page.screenshot(path=IMAGES / "history.png")
    with browser.new_context(base_url=address, viewport=NARROW, device_scale_factor=2) as context:
        streaming(context.new_page(), "desk-360.png")


def main() -> None:
    """Take the pictures from the address on the command line, or from the default one."""
    address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        take(browser, address)
        browser.close()


if __name__ == "__main__":
    main()
