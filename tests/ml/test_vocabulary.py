from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.vocabulary import UNKNOWN, Vocabulary, VocabularyError, normalize

VOCABULARY = Vocabulary(UNKNOWN + "\n abc")


@pytest.mark.parametrize(
    ("symbols", "reason"),
    [
        ("", "2 to 256"),
        (UNKNOWN, "2 to 256"),
        (UNKNOWN + "".join(chr(0x4E00 + i) for i in range(256)), "2 to 256"),
        ("abc", "unknown symbol"),
        (UNKNOWN + "aba", "twice"),
        (UNKNOWN + "a\0", "NUL"),
        (UNKNOWN + "a\udfff", "half of a character pair"),
    ],
)
def test_refuses_what_is_no_vocabulary(symbols: str, reason: str) -> None:
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


def test_a_corpus_with_what_no_text_can_hold_gives_a_vocabulary_without_it() -> None:
    assert Vocabulary.from_counts(Counter({"a": 1, "\0": 1, "\ud800": 1})).symbols == UNKNOWN + "a"
