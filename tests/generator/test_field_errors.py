"""What a refused field says: its range, in the same words on the page and in JSON."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from generator.models import ModelVersion
from tests.generator.conftest import make_version

LENGTH = "Length is a whole number from 1 to 20,000."
TEMPERATURE = "Temperature is a number from 0 to 5."
TOP_K = "Top-k is a whole number from 1 to 90, or empty for all characters."
TOP_P = "Top-p is a number above 0 and up to 1, or empty for all characters."
SEED = "Seed is a whole number from 0 to 18,446,744,073,709,551,615, or empty for a new one."
NUL = "This contains the NUL character (U+0000). Remove it."

# field → values that are refused → what is said of each
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "length": ((0, -1, 20_001, 10**9, "many", 1.5, True, None, "", 10**60), LENGTH),
    "temperature": ((-1, 5.5, "hot", "nan", True, None, "", 10**400), TEMPERATURE),
    "top_k": ((0, -3, 91, 1.5, "all", True), TOP_K),
    "top_p": ((0, -0.5, 1.5, "x", "inf", True), TOP_P),
    "seed": ((-1, 2**64, "x", 1.5, True), SEED),
    "version": (
        (99, -1, "latest"),
        "This version does not exist or cannot write at the moment. Choose another.",
    ),
    "parent": (
        ("../x", "7b1c5b0e-5bd3-44a5-9a5e-0f3ad7a1f0a1"),
        "The parent must be the id of one of your texts.",
    ),
    "client_key": (("k" * 65,), "A client key is text of at most 64 characters."),
}


def on_page(field: str, value: Any) -> str:
    """Return what the page shows after a form with this field."""
    answer = Client().post(
        "/generations/",
        {"length": "10", "temperature": "1", field: "" if value is None else str(value)},
    )
    assert answer.status_code == 400
    return html.unescape(answer.text)


@pytest.mark.parametrize("field", REFUSED)
def test_a_field_states_its_range_on_the_page_and_in_json(
    client: Client, live: ModelVersion, field: str
) -> None:
    values, sentence = REFUSED[field]
    for value in values:
        answer = client.post(
            "/generations/", json.dumps({field: value}), content_type="application/json"
        )
        assert answer.json() == {"errors": {field: [sentence]}}, value
        if value is not True and len(str(value)) < 90:
            assert sentence in on_page(field, value), value


def test_the_range_of_top_k_depends_on_the_chosen_version(
    client: Client, live: ModelVersion
) -> None:
    make_version(2, vocabulary_size=250)
    said = [
        client.post(
            "/generations/",
            json.dumps({"top_k": value, "version": 2}),
            content_type="application/json",
        ).json()
        for value in (251, "x")
    ]
    assert said == [{"errors": {"top_k": [TOP_K.replace("90", "250")]}}] * 2


def test_a_prompt_that_is_too_long_or_holds_nul(client: Client, live: ModelVersion) -> None:
    for prompt, sentence in (
        ("x" * 2_005, "The prompt may have 2,000 characters at most; this one has 2005."),
        ("a\0b", NUL),
    ):
        answer = client.post(
            "/generations/", json.dumps({"prompt": prompt}), content_type="application/json"
        )
        assert answer.json() == {"errors": {"prompt": [sentence]}}
        assert sentence in on_page("prompt", prompt)
    answer = client.post(
        "/generations/", json.dumps({"stop": ["a\0b"]}), content_type="application/json"
    )
    assert answer.json() == {"errors": {"stop": [NUL]}}


def test_the_limits_are_the_settings(client: Client, live: ModelVersion, settings: Any) -> None:
    settings.GENERATION_MAX_LENGTH = 1_234
    answer = client.post(
        "/generations/", json.dumps({"length": 0}), content_type="application/json"
    )
    assert answer.json() == {"errors": {"length": ["Length is a whole number from 1 to 1,234."]}}


def test_the_sentences_above_hold_for_the_default_settings() -> None:
    assert (
        settings.GENERATION_MAX_LENGTH,
        settings.TEMPERATURE_MAX,
        settings.PROMPT_MAX_LENGTH,
    ) == (20_000, 5, 2_000)


def test_the_page_gives_its_script_the_same_sentences(live: ModelVersion) -> None:
    page = html.unescape(Client().get("/").text)
    for sentence in (LENGTH, TEMPERATURE, TOP_K, TOP_P):
        assert f'data-rule="{sentence}"' in page
