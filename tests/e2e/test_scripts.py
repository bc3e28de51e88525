"""A model of Greek, Cyrillic, Chinese and Japanese: registered, used, shown and searched."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from generator.operations import processes
from ml.engine.offline import generate
from ml.engine.step import OnnxStep
from ml.engine.stream import Request
from ml.sampling import Sampling
from ml.versions.version import Version, read_step_graph
from tests.e2e.pages import exported, prompt_field, send, show_at_once, shown_text, wait_for_end
from tests.ml.scripts import SCRIPTS, train_version, write_script
from tests.stack import EVERYTHING, Stack, wait_until

PROMPTS = {
    "greek": "Μοῦσα, πολλὰ",
    "cyrillic": "кот учёный",
    "chinese": "天地玄黃宇宙",
    "japanese": "𠮷野の山",
}
LENGTH = 150
ROW = "SELECT version FROM generator_modelversion WHERE digest = ?"


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """One version that knows all four scripts: more symbols than a byte can count."""
    folder = tmp_path_factory.mktemp("scripts")
    for name in SCRIPTS:
        write_script(folder / "books", name)
    made = train_version(folder / "books", folder)
    assert len(made.vocabulary) > 256
    return made


def register(stack: Stack, version: Version) -> int:
    """Register `version` with `python -m ml`, and return its number once the desk offers it."""
    environment = {
        **stack.environment,
        "MLFLOW_TRACKING_URI": f"sqlite:///{stack.data_dir / 'mlflow.db'}",
    }
    command = [sys.executable, "-m", "ml", "register", str(version.folder)]
    subprocess.run(
        command, env=environment, cwd=processes.HOME, check=True, capture_output=True, timeout=120
    )
    number = wait_until(lambda: stack.rows(ROW, version.digest), "the new version is mirrored")[0][
        "version"
    ]
    desk = stack.visitor()
    wait_until(
        lambda: f'<option value="{number}"' in desk.get("/").text, "the desk offers the new version"
    )
    return int(number)


def write(page: Page, prompt: str, version: int) -> None:
    page.goto("/")
    prompt_field(page).fill(prompt)
    page.get_by_label("Length", exact=True).fill(str(LENGTH))
    page.get_by_label("Temperature", exact=True).fill("0")
    page.get_by_label("Model version").select_option(str(version))
    send(page)
    wait_for_end(page)


def test_texts_in_four_scripts(
    make_stack: Callable[..., Stack], browser: Browser, version: Version
) -> None:
    stack = make_stack(*EVERYTHING)
    number = register(stack, version)
    step = OnnxStep(read_step_graph(version), version.model, rows=1, threads=1)
    with browser.new_context(base_url=stack.base_url) as context:
        show_at_once(context)
        page = context.new_page()
        frames: list[dict[str, Any]] = []
        page.on(
            "websocket",
            lambda socket: socket.on(
                "framereceived", lambda payload: frames.append(json.loads(payload))
            ),
        )
        context.set_default_timeout(30_000)
        written: dict[str, str] = {}
        for name, prompt in PROMPTS.items():
            write(page, prompt, number)
            row = exported(page)
            sampling = Sampling(
                length=LENGTH,
                seed=int(row["seed"]),
                temperature=row["temperature"],
                top_k=row["top_k"],
                top_p=row["top_p"],
            )
            request = Request(prompt, sampling)
            assert row["text"] == generate(step, version.vocabulary, request).text, name
            assert sum(character in SCRIPTS[name] for character in row["text"]) > LENGTH / 2
            assert shown_text(page) == row["text"]
            assert page.locator("[data-prompt]").text_content() == prompt
            assert "".join(frame.get("text", "") for frame in frames) == row["text"]
            frames.clear()
            expect(page.locator("[data-unknown]")).to_be_hidden()
            written[name] = row["text"]
        for name, prompt in PROMPTS.items():
            for word in (prompt, max(written[name][:60].split(), key=len)[:8]):
                page.goto("/history/")
                page.get_by_label("Search in prompts and texts").fill(word)
                page.get_by_role("button", name="Search").click()
                rows = page.locator("[data-row]")
                expect(rows).to_have_count(1)
                expect(rows).to_contain_text(prompt)
