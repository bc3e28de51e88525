"""A text on a version whose files are unavailable: what its page says and finally offers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, expect

from generator.operations import addresses
from tests.e2e.pages import prompt_field, send, show_at_once
from tests.stack import EVERYTHING, HOST, Stack

CANNOT = "The model's files cannot be fetched right now"


def test_a_registry_that_is_away_is_reported_in_plain_words(
    browser: Browser, make_stack: Callable[..., Stack], data_dir: Path
) -> None:
    nobody = f"http://{HOST}:{addresses.free_port()}"
    stack = make_stack(*EVERYTHING, MLFLOW_TRACKING_URI=nobody)
    other = stack.rows("SELECT version, digest FROM generator_modelversion WHERE NOT is_live")[0]
    shutil.rmtree(data_dir / "versions" / other["digest"])
    with browser.new_context(base_url=stack.base_url) as context:
        show_at_once(context)
        page = context.new_page()
        page.goto("/")
        prompt_field(page).fill("It was a dark")
        page.get_by_label("Model version").select_option(str(other["version"]))
        page.get_by_label("Length").fill("120")
        send(page)
        status = page.locator("[data-status]")
        expect(status).to_have_text("Fetching the model's files", timeout=15_000)
        expect(status).to_have_text(f"{CANNOT}; trying again, 2 of 3", timeout=30_000)
        with context.expect_page() as opened:
            page.evaluate("open(location.href)")  # the text's own page says so too
        expect(opened.value.locator("[data-status]")).to_contain_text(
            f"{CANNOT}; trying again", timeout=15_000
        )
        opened.value.close()
        expect(status).to_have_text(f"{CANNOT}; trying again, 3 of 3", timeout=30_000)
        expect(status).to_contain_text("Failed after 0 characters: ", timeout=30_000)
        expect(status).to_contain_text(f"{CANNOT}.")
        assert not any(
            word in page.content()
            for word in ("Traceback", str(data_dir), nobody, "HTTPConnectionPool")
        )

        page.get_by_role("link", name="Write it with the live version").click()
        expect(prompt_field(page)).to_have_value("It was a dark")
        expect(page.get_by_label("Length")).to_have_value("120")
        expect(page.get_by_label("Model version")).to_have_value("")
        send(page)
        expect(page.locator("[data-status]")).to_have_text("Done, 120 characters", timeout=15_000)
