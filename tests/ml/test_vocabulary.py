from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.vocabulary import MAX_SYMBOLS, UNKNOWN, Vocabulary, VocabularyError, normalize

VOCABULARY = Vocabulary(UNKNOWN + "\n abc")


@pytest.mark.parametrize(
    ("symbols", "reason"),
    [
        ("", "2 to 4096"),
        (UNKNOWN, "2 to 4096"),
        (UNKNOWN + "".join(chr(0x4E00 + i) for i in range(MAX_SYMBOLS)), "2 to 4096"),
        ("abc", "unknown symbol"),
        (UNKNOWN + "aba", "twice"),
        (UNKNOWN + "a\0", "NUL"),
        (UNKNOWN + "a\udfff", "half of a character pair"),
    ],
)
def test_refuses_invalid_symbols(symbols: str, reason: str) -> None:
    with pytest.raises(VocabularyError, match=reason):
        Vocabulary(symbols)


def test_unknown_characters_become_symbol_0() -> None:
    assert VOCABULARY.encode("a\u2603b").tolist() == [3, 0, 4]
    assert VOCABULARY.decode([3, 0, 4]) == "a" + UNKNOWN + "b"


def test_names_unknown_characters_once_and_in_order() -> None:
    assert VOCABULARY.unknown_characters("xaz\u201cx") == 'xz"'


@given(st.text(alphabet="\n abc"))
def test_known_text_survives(text: str) -> None:
    assert VOCABULARY.decode(VOCABULARY.encode(text)) == text


@given(st.text())
def test_any_text_can_be_encoded(text: str) -> None:
    normal = normalize(text)
    assert len(VOCABULARY.encode(normal)) == len(normal)


@given(st.text())
def test_normalizing_twice_changes_nothing(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


def test_normalizes_quotes_and_line_ends() -> None:
    assert normalize("\u201cIt\u2019s\u201d\r\n\u00abyes\u00bb\tno\r") == '"It\'s"\n"yes" no\n'


def test_keeps_characters_with_a_share_of_the_text() -> None:
    counts = Counter({"a": 99_999, "b": 1, "c": 0})
    assert Vocabulary.from_counts(counts, min_share=1e-5).symbols == UNKNOWN + "ab"
    assert Vocabulary.from_counts(counts, min_share=1e-4).symbols == UNKNOWN + "a"


def test_keeps_the_most_frequent_of_too_many() -> None:
    rare, often, equal = (
        "".join(chr(first + i) for i in range(MAX_SYMBOLS // 2))
        for first in (0x4E00, 0x6E00, 0x8E00)
    )
    counts = Counter(
        {**dict.fromkeys(rare, 1), **dict.fromkeys(often, 9), **dict.fromkeys(equal, 2)}
    )
    assert Vocabulary.from_counts(counts, min_share=0).symbols == UNKNOWN + often + equal[:-1]
    counts[equal[-1]] = 3
    assert (
        Vocabulary.from_counts(counts, min_share=0).symbols
        == UNKNOWN + often + equal[:-2] + equal[-1]
    )


@pytest.mark.parametrize(("symbols", "size"), [(2, 1), (256, 1), (257, 2), (MAX_SYMBOLS, 2)])
def test_ids_take_a_byte_or_two(symbols: int, size: int) -> None:
    vocabulary = Vocabulary(UNKNOWN + "".join(chr(0x4E00 + i) for i in range(symbols - 1)))
    ids = vocabulary.encode(vocabulary.symbols)
    assert (ids.tolist(), len(ids.tobytes())) == (list(range(symbols)), size * symbols)


def test_a_vocabulary_leaves_out_what_no_text_can_hold() -> None:
    assert Vocabulary.from_counts(Counter({"a": 1, "\0": 1, "\ud800": 1})).symbols == UNKNOWN + "a"
