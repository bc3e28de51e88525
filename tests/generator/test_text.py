"""How typed text is read, from a page as from JSON: line breaks, and stop strings with some."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from hypothesis import example, given
from hypothesis import strategies as st

from generator.models import Generation, ModelVersion
from generator.text import plain_newlines
from generator.web.forms import StopField

BREAKS = ["\n", "\r\n", "\r"]
SENT = {"length": "20", "temperature": "0.7"}
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def submit_page(client: Client, **fields: str) -> Any:
    return client.post("/generations/", {**SENT, **fields})


def submit_json(client: Client, **fields: Any) -> Any:
    return client.post(
        "/generations/", json.dumps({"length": 20, **fields}), content_type="application/json"
    )


@pytest.mark.parametrize("submit", [submit_page, submit_json])
@pytest.mark.parametrize("line_break", BREAKS)
def test_a_line_break_counts_as_one_character_of_a_prompt(
    client: Client, live: ModelVersion, submit: Callable[..., Any], line_break: str
) -> None:
    assert submit(client, prompt=line_break.join("a" * 1000) + "b").status_code == 201
    assert Generation.objects.get().prompt == "\n".join("a" * 1000) + "b"
    refused = submit(client, prompt=line_break.join("a" * 1001))
    assert refused.status_code == 400
    assert "this one has 2001" in refused.json()["errors"]["prompt"][0]


@pytest.mark.parametrize("line_break", BREAKS)
def test_a_line_break_counts_as_one_character_of_a_stop_string_and_of_a_key(
    client: Client, live: ModelVersion, line_break: str
) -> None:
    assert (
        submit_json(client, stop=[line_break * 40], client_key=f"a{line_break * 62}b").status_code
        == 201
    )
    row = Generation.objects.get()
    assert (row.stop, row.client_key) == (["\n" * 40], f"a{chr(10) * 62}b")
    assert submit_json(client, stop=[line_break * 41]).status_code == 400


@given(ANY_TEXT)
@example("\r\n\r\r\n\n")
def test_every_kind_of_line_break_becomes_one_newline(text: str) -> None:
    plain = plain_newlines(text)
    assert "\r" not in plain
    assert (
        plain
        == plain_newlines(plain.replace("\n", "\r\n"))
        == plain_newlines(plain.replace("\n", "\r"))
    )


def test_characters_that_are_no_line_breaks_stay() -> None:
    others = "\v\f\x1c\x85\u2028\u2029"
    assert plain_newlines(others) == others


@given(st.lists(ANY_TEXT))
@example(["\n", "\\n", "\\", "\\\\n", " ", "a\n\nb", "\u2028", "\x85"])
def test_stop_strings_come_back_from_the_page_unchanged(stops: list[str]) -> None:
    field = StopField(required=False, strip=False)
    wanted = [plain_newlines(stop) for stop in stops if stop]
    shown = field.prepare_value(stops)
    assert shown.count("\n") == max(len(wanted) - 1, 0)  # one on each line
    assert field.to_python(shown.replace("\n", "\r\n")) == wanted
    assert field.to_python(stops) == wanted


@pytest.mark.parametrize("line", ["\\", "a\\", "\\x", "\\N", "\\ n", "\\\\\\"])
def test_a_backslash_before_anything_else_is_refused_with_a_reason(
    client: Client, live: ModelVersion, line: str
) -> None:
    refused = submit_page(client, stop=line)
    assert refused.status_code == 400
    assert refused.json()["errors"]["stop"] == [
        "A backslash in a stop string stands before n, for a line break,"
        " or before a second backslash, for a backslash."
    ]


STOPS = ["\n\n", "a\\nb", "\\", " x ", "<b>", "été\n"]


def desk_fields(client: Client, address: str) -> dict[str, str]:
    """Return what a browser sends from the desk at that address, with CR LF as line breaks."""
    page = client.get(address, headers={"accept": "text/html"}).content.decode()
    stop = re.search(r'<textarea id="id_stop".*?>\n(.*?)</textarea>', page, re.DOTALL)
    assert stop
    return {**SENT, "stop": html.unescape(stop[1]).replace("\n", "\r\n")}


def test_edit_and_run_asks_for_the_same_stop_strings(
    client: Client, make_generation: Callable[..., Generation]
) -> None:
    first = make_generation(stop=STOPS, state="done")
    fields = desk_fields(client, f"/?from={first.pk}")
    assert submit_page(client, **fields).status_code == 201
    assert Generation.objects.exclude(pk=first.pk).get().stop == STOPS


def test_replay_and_the_export_keep_stop_strings(
    client: Client, make_generation: Callable[..., Generation]
) -> None:
    first = make_generation(stop=STOPS, state="done")
    replay = client.post(f"{first.get_absolute_url()}again/", {"seed": "same"}).json()
    assert Generation.objects.get(pk=replay["id"]).stop == STOPS
    exported = client.get(f"{first.get_absolute_url()}export.json").json()["stop"]
    assert submit_json(client, stop=exported, client_key="exported").status_code == 201
    assert Generation.objects.get(client_key="exported").stop == STOPS


def test_a_text_s_own_page_shows_stop_strings_as_they_are_typed(
    client: Client, make_generation: Callable[..., Generation]
) -> None:
    page = client.get(
        make_generation(stop=STOPS).get_absolute_url(), headers={"accept": "text/html"}
    ).content.decode()
    shown = [
        html.unescape(code)
        for code in re.findall(r'<code><bdi class="glyph">(.*?)</bdi></code>', page, re.DOTALL)
    ]
    assert shown == ["\\n\\n", "a\\\\nb", "\\\\", " x ", "<b>", "été\\n"]


@pytest.mark.parametrize("odd", [0, None, [], 1.5, {"a": "b"}])
def test_stops_that_are_not_strings_are_refused_on_a_page_too(
    client: Client, live: ModelVersion, odd: Any
) -> None:
    body = json.dumps({"length": 20, "stop": ["kept\n", odd]})
    page = client.post(
        "/generations/", body, content_type="application/json", headers={"accept": "text/html"}
    )
    assert page.status_code == 400
    assert ">\nkept\\n</textarea>" in page.content.decode()


def test_a_refused_list_of_stops_comes_back_as_lines(
    client: Client, live: ModelVersion, settings: Any
) -> None:
    settings.OWNER_MAX_ACTIVE = 0
    body = json.dumps({"length": 20, "stop": ["a\nb", "c"]})
    page = client.post(
        "/generations/", body, content_type="application/json", headers={"accept": "text/html"}
    )
    assert page.status_code == 429
    assert ">\na\\nb\nc</textarea>" in page.content.decode()
