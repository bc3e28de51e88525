"""F9 and F10: pages reloaded, closed and opened twice; links that break, are slow or silent."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import shutil
import statistics
from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.e2e.conftest import QUIET
from tests.e2e.pages import begin, exported, output, show_at_once, shown_text, wait_for_end
from tests.faults.harness import LONGEST, PROMPT, SEEDS, TEMPERATURE, Load, References, Result
from tests.proxy import Proxy
from tests.stack import Stack, wait_until

RESTORED = 0.3  # seconds (p95) from a reload until the earlier text is shown again
RELOADS = 4  # of one text
STALLED = 8  # clients: enough to tell their memory from other changes of the process
STALLED_COST = 5.0  # MiB
RELOAD = """() => {
  sessionStorage.wanted = document.querySelector("[data-text]").textContent.length;
  delete document.documentElement.dataset.restored;
  location.reload();
}"""
# In the reloaded page: seconds from the start of the navigation to the frame that shows all of the
# earlier text.
WATCH = """
function look() {
  const text = document.querySelector("[data-text]");
  if (text?.textContent.length < Number(sessionStorage.wanted)) requestAnimationFrame(look);
  else if (text) document.documentElement.dataset.restored = performance.now() / 1000;
}
if (sessionStorage.wanted) document.addEventListener("DOMContentLoaded", look);
"""


@pytest.fixture
def context(both: Stack) -> Iterator[BrowserContext]:
    """The browser of one visitor, for one test: its event loop must not outlive the test."""
    chromium = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    assert chromium, "no Chromium on PATH (Debian: apt install chromium)"
    with sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        with browser.new_context(base_url=both.base_url) as context:
            context.set_default_timeout(60_000)
            context.add_init_script(WATCH)
            show_at_once(context)
            yield context
        browser.close()


def reload(page: Page) -> float:
    """Reload a page and return the seconds until its text is shown again."""
    page.evaluate(RELOAD)
    restored = page.locator("html[data-restored]").get_attribute("data-restored")
    assert restored
    return float(restored)


def reload_at_random(page: Page, chance: random.Random) -> list[float]:
    """Reload a page several times while its text grows; return the seconds of each reload."""
    took: list[float] = []
    for offset in sorted(chance.sample(range(200, LONGEST * 3 // 4), RELOADS)):
        page.wait_for_function(
            "offset => Number(document.querySelector('[data-output]').dataset.offset) >= offset",
            arg=offset,
        )
        expect(output(page)).to_have_attribute("data-state", "running")
        took.append(reload(page))
    return took


def texts_of_tabs(
    context: BrowserContext, chance: random.Random, seed: int
) -> tuple[set[str], list[float]]:
    """Return the final texts of two tabs, one of them reloaded and reopened, and the seconds."""
    page = context.new_page()
    begin(page, PROMPT, length=LONGEST, Temperature=str(TEMPERATURE), Seed=str(seed))
    page.wait_for_url("**/generations/**")
    other = context.new_page()
    other.goto(page.url)
    page.bring_to_front()  # tabs in the background may be painted only once a second
    took = reload_at_random(page, chance)
    page.close()
    wait_for_end(other)
    again = context.new_page()
    again.goto(other.url)
    wait_for_end(again)
    texts = {shown_text(other), shown_text(again), exported(again)["text"]}
    other.close()
    again.close()
    return texts, took


def test_f9_reloads_and_tabs_show_the_same_text(
    both: Stack, references: References, context: BrowserContext, chance: random.Random, full: bool
) -> None:
    visitor = both.visitor()
    took: list[float] = []
    wrong: list[str] = []
    rounds = 20 // RELOADS if full else 1
    for number in range(rounds):
        seed = SEEDS[number % len(SEEDS)]
        for other in range(15):  # so that the product is busy at each reload
            visitor.submit(
                prompt=PROMPT,
                length=LONGEST,
                seed=SEEDS[other % len(SEEDS)],
                temperature=TEMPERATURE,
            )
        texts, restored = texts_of_tabs(context, chance, seed)
        took += restored
        wrong += [f"{len(texts)} texts of seed {seed}"] * (texts != {references.text(seed)})
        wait_until(
            lambda: (
                not both.rows(
                    "SELECT 1 FROM generator_generation WHERE state IN ('queued', 'running')"
                )
            ),
            "the end",
        )
    worst = sorted(took)[math.ceil(0.95 * len(took)) - 1]
    notes = {
        "reloads": len(took),
        "restored median s": round(statistics.median(took), 3),
        "p95 s": round(worst, 3),
    }
    Result("F9", rounds, rounds - len(wrong), 0, len(wrong), 0, worst, None, wrong, notes).save()
    assert worst <= 3 * RESTORED


async def ticks(seconds: float) -> AsyncIterator[None]:
    """Yield several times a second for `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                yield
                await asyncio.sleep(0.2)


async def test_f10_bad_links_cost_time_and_no_character(
    both: Stack, references: References, full: bool
) -> None:
    hole, slow_length = (30.0, LONGEST) if full else (8.0, 2_000)
    visitor = both.visitor()
    await asyncio.to_thread(visitor.submit, length=1)  # creates a session and a CSRF token
    with (
        Proxy(both.port) as breaking,
        Proxy(both.port, narrow=True) as slow,
        Proxy(both.port, narrow=True) as silent,
    ):
        slow.rate = 2_000
        async with (
            Load(
                both, references, count=4, length=slow_length, visitor=visitor.twin(slow.url)
            ) as crawling,
            Load(
                both, references, count=4, length=LONGEST, visitor=visitor.twin(breaking.url)
            ) as broken,
            Load(
                both, references, count=STALLED, length=LONGEST, visitor=visitor.twin(silent.url)
            ) as stalled,
        ):
            await stalled.under_way()
            before = both.memory("web")
            breaking.reset_every(3)
            silent.black_hole(hole)
            cost = max([both.memory("web") async for _ in ticks(hole)]) - before
            stalled.fault_ended()
            for load in (broken, stalled, crawling):
                await load.finish()
    assert breaking.resets
    assert min(watcher.stall() for watcher in stalled.watchers) > hole / 2
    broken.result("F10 resets", resets=breaking.resets).save()
    crawling.result("F10 2 KB/s", length=slow_length).save()
    stalled.result("F10 hole", hole=hole, **{"MiB a client": round(cost / STALLED, 2)}).save()
    assert cost / STALLED < STALLED_COST
