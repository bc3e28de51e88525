"""Text of people and models among our words, in places where it cannot have an element."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable

import pytest
from django.test import Client

from generator.models import Generation, ModelVersion
from generator.web.foreign import isolated, tamed, visible

EVERY_CONTROL = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def test_plain_text_becomes_an_isolate_that_nothing_in_it_ends() -> None:
    assert isolated(f"a{EVERY_CONTROL}b") == "\u2068ab\u2069"
    # The end of a paragraph would end the isolate, too.
    assert isolated("a\n\u2029b\x1c c") == "\u2068a b c\u2069"


def test_html_keeps_every_character_and_boxes_the_controls() -> None:
    said = tamed(f"<b>{EVERY_CONTROL}&")
    assert html.unescape(re.sub(r"</?span[^>]*>", "", said)) == f"<b>{EVERY_CONTROL}&"
    assert said.count('<span class="control">') == len(EVERY_CONTROL)
    assert "<b>" not in said


@pytest.mark.parametrize(
    ("character", "shown"),
    [("☃", "☃"), ("\u202e", "U+202E"), ("\u00a0", "U+00A0"), ("\u200b", "U+200B"), ("é", "é")],
)
def test_an_invisible_character_is_shown_as_its_number(character: str, shown: str) -> None:
    assert visible(character) == shown


def test_the_title_and_json_isolate_what_they_quote(
    client: Client, live: ModelVersion, make_generation: Callable[..., Generation]
) -> None:
    text = make_generation(prompt="\u202eevil\n\u2069 more")
    page = client.get(text.get_absolute_url(), headers={"accept": "text/html"}).text
    assert "<title>\u2068evil more\u2069 – CharRNN Live</title>" in page
    for prompt, title in (("", "A text"), (" \n", "A text")):
        page = client.get(
            make_generation(prompt=prompt).get_absolute_url(), headers={"accept": "text/html"}
        ).text
        assert f"<title>{title} – CharRNN Live</title>" in page
    answer = client.post(
        "/generations/", json.dumps({"\u202eevil": 1}), content_type="application/json"
    )
    assert answer.json()["errors"]["__all__"] == ["There is no parameter \u2068evil\u2069."]
