"""Parsing what a browser says, and the frames it is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from generator import events
from generator.models import Generation


@pytest.mark.parametrize(
    "message",
    [{"type": "cancel"}, {"type": "ack", "offset": 0}, {"type": "ack", "offset": 999_999_999}],
)
def test_cancel_and_ack_are_understood(message: events.ClientCancel | events.ClientAck) -> None:
    assert events.parse_client_message(json.dumps(message), 100) == message
    assert events.parse_client_message(json.dumps({**message, "more": 1}), 100) == message


@pytest.mark.parametrize("offset", ["-1", "1.5", "1000000000", "true", "null", '"7"', "[]", "1e3"])
def test_an_ack_without_a_valid_offset_is_an_error(offset: str) -> None:
    with pytest.raises(events.ClientError) as caught:
        events.parse_client_message(f'{{"type": "ack", "offset": {offset}}}', 100)
    assert caught.value.frame["code"] == "bad_offset"


@pytest.mark.parametrize(
    ("query", "offset"),
    [(b"", 0), (b"after=", 0), (b"after=0", 0), (b"after=17&x=1", 17), (b"x", 0)],
)
def test_the_offset_in_an_address(query: bytes, offset: int) -> None:
    assert events.parse_offset(query) == offset


@pytest.mark.parametrize(
    "query",
    [b"after=-1", b"after=x", b"after=1.5", b"after=9999999999", b"after=%D9%A3", b"after=%00"],
)
def test_an_invalid_offset_in_an_address_is_an_error(query: bytes) -> None:
    with pytest.raises(events.ClientError) as caught:
        events.parse_offset(query)
    assert caught.value.frame["code"] == "bad_offset"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "binary"),
        ("x" * 101, "too_large"),
        ("é" * 60, "too_large"),
        ("", "bad_json"),
        ("{", "bad_json"),
        ("NaN", "bad_json"),
        ('{"type": NaN}', "bad_json"),
        ("[" * 100, "bad_json"),
        ('{"type": "cancel", "type": "cancel"}', "bad_json"),
        ("[]", "unknown_type"),
        ('"cancel"', "unknown_type"),
        ("null", "unknown_type"),
        ("{}", "unknown_type"),
        ('{"type": "start"}', "unknown_type"),
        ('{"type": ["cancel"]}', "unknown_type"),
        ('{"type": {"a": 1}}', "unknown_type"),
    ],
)
def test_anything_else_is_an_error_with_a_code(text: str | None, code: str) -> None:
    with pytest.raises(events.ClientError) as caught:
        events.parse_client_message(text, 100)
    assert caught.value.frame["code"] == code
    assert caught.value.frame["message"]


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(events.ClientError) as caught:
        events.parse_client_message("[" * 15_000 + "]" * 15_000, 100_000)
    assert caught.value.frame["code"] in {"bad_json", "unknown_type"}


def test_the_end_frame_carries_hash_and_timings(make_generation: Callable[..., Generation]) -> None:
    generation = make_generation(state="done", finish_reason="length", text="héllo")
    generation.started_at = generation.created_at + timedelta(seconds=1)
    generation.first_character_at = generation.created_at + timedelta(seconds=2)
    generation.finished_at = generation.created_at + timedelta(seconds=4)
    frame = events.end_frame(generation)
    assert frame["length"] == 5
    assert frame["sha256"] == "3c48591d8d098a4538f5e013dfcf406e948eac4d3277b10bf614e295d6068179"
    assert frame["stats"] == {
        "queued": 1.0,
        "first_character": 2.0,
        "writing": 2.0,
        "characters_per_second": 2,
    }


def test_timings_of_what_never_happened_are_none(
    make_generation: Callable[..., Generation],
) -> None:
    generation = make_generation(state="cancelled", finished_at=timezone.now())
    assert set(events.stats(generation).values()) == {None}


def chars(offset: int, text: str) -> events.CharsFrame:
    bits = [float(offset + n) for n in range(len(text))]
    return {"type": "chars", "offset": offset, "text": text, "surprisal": bits}


@pytest.mark.parametrize(
    ("offset", "part"),
    [
        (0, chars(4, "text")),
        (4, chars(4, "text")),
        (6, chars(6, "xt")),
        (8, None),
        (9, None),
    ],
)
def test_the_part_of_a_frame_beyond_an_offset(offset: int, part: events.CharsFrame | None) -> None:
    assert events.part_beyond(chars(4, "text"), offset) == part


@pytest.mark.parametrize(
    ("text", "frames", "whole"),
    [
        ("abc", [], "abc"),
        ("", [chars(0, "ab"), chars(2, "cd")], "abcd"),
        ("abc", [chars(0, "ab"), chars(2, "cd"), chars(4, "e")], "abcde"),
        ("abcd", [chars(0, "ab")], "abcd"),
        ("ab", [chars(3, "d"), chars(2, "cd")], "ab"),  # nothing after a gap
        ("", [chars(0, "abcd"), chars(2, "cdef")], "abcdef"),  # a second attempt
    ],
)
def test_a_rows_text_goes_on_in_the_log_up_to_the_first_gap(
    text: str, frames: list[events.CharsFrame], whole: str
) -> None:
    assert events.text_with(text, frames) == whole
