"""How typed text is read, from a page or from JSON: line breaks, stop strings, words to find."""

from __future__ import annotations

import re
import unicodedata

_ACCENTS = 200  # combining class from which marks are attached to a letter, or above or below it
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)


def plain_newlines(text: str) -> str:
    """Return `text` with each line break (CR LF, CR or LF) as one LF, as the model reads it."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def stop_line(stop: str) -> str:
    r"""Return a stop string as one line of a page: a line break as \n, a backslash as \\."""
    return plain_newlines(stop).replace("\\", "\\\\").replace("\n", "\\n")


def stop_of_line(line: str) -> str:
    r"""Return the stop string that a line stands for.

    Raises ValueError for a backslash that is followed by neither n nor a backslash.
    """
    return _ESCAPED.sub(_unescape, line)


def _unescape(match: re.Match[str]) -> str:
    if match[1] not in ("n", "\\"):
        raise ValueError("a backslash stands before neither n nor a backslash")
    return "\n" if match[1] == "n" else "\\"


def small_number(text: str) -> int | None:
    """Return a whole number of at most nine digits, as every column of numbers holds; or None."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def folded(text: str) -> str:
    """Return `text` as a search compares it, without case, accents and compatible forms.

    Compatible forms are full width, ligatures and the like. Of the combining marks only accents
    (above, below or through a letter) are removed; marks that are part of a letter stay.
    """
    plain = plain_newlines(text)
    if plain.isascii():
        return plain.lower()
    letters = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", plain)
        if unicodedata.combining(letter) < _ACCENTS
    )
    return unicodedata.normalize("NFKC", letters.casefold())
