"""What the pages call a state, and the sentence of the status line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from generator.models import Generation
from generator.web.status import status_line

HTML = {"accept": "text/html"}
LABELS = {
    "queued": "Waiting",
    "running": "Writing",
    "done": "Done",
    "cancelled": "Stopped",
    "failed": "Failed",
}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"state": "queued"}, "Waiting for a worker"),
        ({"state": "queued", "note": "The model is being fetched"}, "The model is being fetched"),
        ({"state": "running"}, "Generating"),
        ({"state": "done", "text": "x" * 1_234}, "Done, 1,234 characters"),
        ({"state": "done", "text": "x", "note": "fetched"}, "Done, 1 character"),
        (
            {"state": "done", "text": "xy", "finish_reason": "stop"},
            "Done at a stop string, 2 characters",
        ),
        ({"state": "cancelled"}, "Stopped after 0 characters"),
        ({"state": "failed", "text": "x"}, "Failed after 1 character"),
        ({"state": "failed", "error": "<b>"}, "Failed after 0 characters: <bdi>&lt;b&gt;</bdi>"),
    ],
)
def test_the_status_line_of_each_state(fields: dict[str, Any], sentence: str) -> None:
    assert status_line(Generation(**fields)) == sentence


@pytest.mark.parametrize(("state", "label"), LABELS.items())
def test_every_page_and_the_admin_use_the_same_word_for_a_state(
    client: Client,
    admin_client: Client,
    make_generation: Callable[..., Generation],
    state: str,
    label: str,
) -> None:
    text = make_generation(state=state)
    for address in ("/", "/history/", text.get_absolute_url()):
        assert f"</span>{label}</span>" in client.get(address, headers=HTML).text, address
    assert f'value="{state}">{label}</option>' in client.get("/history/", headers=HTML).text
    shown = admin_client.get("/admin/generator/generation/").text
    assert f'<td class="field-state">{label}</td>' in shown


def test_the_script_that_follows_a_text_has_the_same_sentences() -> None:
    folder = Path(settings.BASE_DIR) / "static" / "js"
    scripts = "".join((folder / name).read_text() for name in ("sentences.js", "output.js"))
    for words in ("Waiting for a worker", "Generating", "Done at a stop string", '"Done"'):
        assert words in scripts
    for words in ("Stopped after ", "Failed after "):
        assert f"`{words}$" in scripts
