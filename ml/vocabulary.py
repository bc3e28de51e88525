"""Text to symbol ids and back, and the rule for characters that a model does not know."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ml.errors import UserError

Ids: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]  # in the dtype of their vocabulary

UNKNOWN = "\ufffd"  # symbol 0 of every vocabulary: read, learned, but never sampled
# As many as Chinese or Japanese books need. Input table, output layer and sampling cost in
# proportion.
MAX_SYMBOLS = 4096

_STRAIGHT = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201a": "'",
        "\u201b": "'",
        "\u2032": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u201f": '"',
        "\u2033": '"',
        "\u00ab": '"',
        "\u00bb": '"',
        "\t": " ",
        "\r": "\n",
        "\ufeff": "",
    }
)


class VocabularyError(UserError, ValueError):
    """The symbols do not form a vocabulary."""


def normalize(text: str) -> str:
    """Return `text` as models are trained to read it: straight quotes, NFKC, newlines.

    Quotes are straightened before and after NFKC, because NFKC decomposes some of them.
    """
    text = text.replace("\r\n", "\n").translate(_STRAIGHT)
    return unicodedata.normalize("NFKC", text).translate(_STRAIGHT)


def _storable(symbol: str) -> bool:
    """Tell whether a text with this symbol can be stored.

    UTF-8 has no half of a character pair, and databases refuse NUL.
    """
    return symbol != "\0" and not "\ud800" <= symbol <= "\udfff"


class Vocabulary:
    """An ordered set of single characters; the first is the unknown symbol."""

    unknown_id = 0

    def __init__(self, symbols: str) -> None:
        if len(symbols) < 2 or len(symbols) > MAX_SYMBOLS:
            raise VocabularyError(
                f"a vocabulary has 2 to {MAX_SYMBOLS} symbols, this one has {len(symbols)}"
            )
        if symbols[0] != UNKNOWN:
            raise VocabularyError(
                "the first symbol of a vocabulary must be the unknown symbol U+FFFD"
            )
        if len(set(symbols)) != len(symbols):
            raise VocabularyError("a vocabulary names a symbol twice")
        if not all(map(_storable, symbols)):
            raise VocabularyError(
                "a vocabulary holds NUL or half of a character pair, which no text can hold"
            )
        self.symbols = symbols
        self._ids = {symbol: index for index, symbol in enumerate(symbols)}

    @classmethod
    def from_counts(cls, counts: Counter[str], min_share: float = 1e-5) -> Vocabulary:
        """Return the vocabulary of all characters with at least `min_share` of the text.

        They are in the order of their code points. If there are too many, the most frequent are
        taken, and among equally frequent ones those with lower code points.
        """
        total = sum(counts.values())
        often = (symbol for symbol, n in counts.items() if n >= min_share * total)
        kept = sorted(
            (symbol for symbol in often if symbol != UNKNOWN and _storable(symbol)),
            key=lambda s: (-counts[s], s),
        )
        return cls(UNKNOWN + "".join(sorted(kept[: MAX_SYMBOLS - 1])))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of ids, in memory and in a corpus: one byte if that is enough, else two."""
        return np.dtype(np.uint8 if len(self) <= 256 else "<u2")

    def __len__(self) -> int:
        return len(self.symbols)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and other.symbols == self.symbols

    def __hash__(self) -> int:
        return hash(self.symbols)

    def encode(self, text: str) -> Ids:
        """Return an id for each character of normalised `text`; unknown characters get id 0."""
        return np.fromiter(
            (self._ids.get(character, 0) for character in text), dtype=self.dtype, count=len(text)
        )

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids`."""
        return "".join(self.symbols[index] for index in ids)

    def unknown_characters(self, text: str) -> str:
        """Return the distinct unknown characters of `text`, in order of appearance."""
        mapped = dict.fromkeys(normalize(text))
        return "".join(character for character in mapped if character not in self._ids)
