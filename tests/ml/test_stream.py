from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.engine.stream import FinishReason, Request, StopStrings, Stream
from ml.sampling import SEED_LIMIT, Sampling
from ml.vocabulary import Vocabulary
from tests.ml.conftest import SYMBOLS

SAMPLING = Sampling(length=10, seed=0)
REQUEST = Request("", SAMPLING)


def stopping(*stop: str, text: str = "", length: int = 10) -> Request:
    return Request("", replace(SAMPLING, stop=stop, length=length), text=text)


def feed(stream: Stream, text: str) -> FinishReason | None:
    """Append characters until the stream ends."""
    for character in text:
        if reason := stream.append(character, 1.0, 1.0):
            return reason
    return None


@pytest.mark.parametrize(
    "change",
    [
        {"length": 0},
        {"length": -1},
        {"seed": -1},
        {"seed": 2**64},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.0001},
        {"top_p": math.nan},
        {"stop": ("",)},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change)).split("_")[0]):
        replace(SAMPLING, **change)


def test_the_largest_seed_is_accepted() -> None:
    assert replace(SAMPLING, seed=SEED_LIMIT - 1).seed == 2**64 - 1


def test_a_stop_string_that_normalises_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="stop string"):
        stopping("a", "\ufeff")


def test_what_is_fed_begins_with_a_newline_and_is_normalised() -> None:
    vocabulary = Vocabulary(SYMBOLS)
    request = Request("\u2018a\u2019\u2603", SAMPLING, text="b")
    fed = request.prefix(vocabulary)
    assert fed.tolist() == [
        *vocabulary.encode("\n'a'").tolist(),
        0,
        *vocabulary.encode("b").tolist(),
    ]
    assert REQUEST.prefix(vocabulary).tolist() == vocabulary.encode("\n").tolist()


def test_chunks_are_taken_once_with_their_offsets() -> None:
    stream = Stream(replace(REQUEST, text="xy"))
    assert stream.take() is None
    stream.append("a", 0.0, 2.0**45.5)
    stream.append("b", math.log(2) / 4, 2.0**44)
    chunk = stream.take()
    assert chunk is not None
    assert (chunk.offset, chunk.text, chunk.surprisal) == (2, "ab", [1.5, 0.25])
    assert stream.take() is None
    stream.append("c", 0.0, 2.0**45)
    chunk = stream.take()
    assert chunk is not None
    assert (chunk.offset, chunk.text) == (4, "c")
    assert stream.text == "xyabc"
    assert stream.surprisal == [1.5, 0.25, 1.0]


def test_what_may_be_a_stop_string_is_held_back_and_given_when_it_is_none() -> None:
    stream = Stream(stopping("END"))
    feed(stream, "aEN")
    assert stream.text == "a"
    feed(stream, "c")
    assert stream.text == "aENc"


def test_a_stop_string_is_no_part_of_the_text() -> None:
    stream = Stream(stopping("END"))
    assert feed(stream, "abENENDx") == FinishReason.STOP
    assert stream.text == "abEN"
    chunk = stream.take()
    assert chunk is not None
    assert chunk.text == "abEN"
    assert len(chunk.surprisal) == 4


def test_at_the_full_length_nothing_is_held_back() -> None:
    stream = Stream(stopping("END", length=3))
    assert feed(stream, "aEN") == FinishReason.LENGTH
    assert stream.text == "aEN"


def test_a_stop_string_may_begin_before_a_resume() -> None:
    stream = Stream(stopping("END", text="abEN"))
    assert stream.replay() is None
    assert feed(stream, "D") == FinishReason.STOP
    assert stream.text == "ab"
    assert stream.take() is None


def test_after_a_resume_the_start_of_a_stop_string_is_held_back() -> None:
    stream = Stream(stopping("END", text="abE"))
    stream.replay()
    feed(stream, "N")
    assert stream.take() is None
    feed(stream, "x")
    chunk = stream.take()
    assert chunk is not None
    assert (chunk.offset, chunk.text) == (3, "Nx")


@pytest.mark.parametrize(
    ("text", "stop", "reason", "left"),
    [
        ("abcdefghij", (), FinishReason.LENGTH, "abcdefghij"),
        ("abcdefghijkl", (), FinishReason.LENGTH, "abcdefghij"),
        ("abcENDdef", ("END",), FinishReason.STOP, "abc"),
    ],
)
def test_a_text_that_is_complete_already_ends_at_once(
    text: str, stop: tuple[str, ...], reason: FinishReason, left: str
) -> None:
    stream = Stream(stopping(*stop, text=text))
    assert stream.replay() == reason
    assert stream.text == left


texts = st.text(alphabet="ab", max_size=30)
stops = st.lists(st.text(alphabet="ab", min_size=1, max_size=5), min_size=1, max_size=4).map(tuple)


@given(text=texts, stop=stops, cut=st.integers(0, 30))
def test_text_ends_before_the_stop_string_that_is_complete_first(
    text: str, stop: tuple[str, ...], cut: int
) -> None:
    ends = [end for end in range(1, len(text) + 1) if text[:end].endswith(stop)]
    longest = max((len(s) for s in stop if ends and text[: ends[0]].endswith(s)), default=0)
    expected = text[: ends[0] - longest] if ends else text
    stream = Stream(Request("", Sampling(length=100, seed=0, stop=stop), text=text[:cut]))
    shown = text[:cut]
    reason = stream.replay()
    if reason is None:
        for character in text[cut:]:
            reason = stream.append(character, 0.0, 1.0)
            if chunk := stream.take():
                assert chunk.offset == len(shown)
                shown += chunk.text
            if reason:
                break
    if ends:
        assert reason == FinishReason.STOP
        assert stream.text == expected
        assert shown == text[:cut] or expected.startswith(shown)
    else:
        held = max(
            (n for s in stop for n in range(len(s)) if n and text.endswith(s[:n])), default=0
        )
        assert stream.text == text[: max(len(text[:cut]), len(text) - held)]


@given(text=texts, stop=stops)
def test_held_is_the_longest_suffix_that_starts_a_stop_string(
    text: str, stop: tuple[str, ...]
) -> None:
    strings = StopStrings(stop)
    for end, character in enumerate(text, 1):
        found = strings.feed(character)
        assert found == max((len(s) for s in stop if text[:end].endswith(s)), default=0)
        assert strings.held == max(
            (n for s in stop for n in range(len(s)) if text[:end].endswith(s[:n])), default=0
        )


def test_a_surprisal_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        Stream(REQUEST).append("a", math.nan, 1.0)
