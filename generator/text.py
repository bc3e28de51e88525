"""How what people type is read, whatever it came through: line breaks, stop strings as lines of a page, words to search for."""

from __future__ import annotations

import re
import unicodedata

_ACCENTS = 200  # the first combining class of marks that are attached to a letter or stand over or under it
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)


def plain_newlines(text: str) -> str:
    """Return `text` with each line break as one newline, as the model reads it: browsers send CR LF, and a CR is one, too."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def stop_line(stop: str) -> str:
    r"""Return a stop string as one line: a line break as \n, a backslash as \\."""
    return plain_newlines(stop).replace("\\", "\\\\").replace("\n", "\\n")


def stop_of_line(line: str) -> str:
    """Return the stop string that a line stands for. Raises ValueError for a backslash before anything else."""
    return _ESCAPED.sub(_unescape, line)


def _unescape(match: re.Match[str]) -> str:
    if match[1] not in ("n", "\\"):
        raise ValueError("a backslash that means nothing")
    return "\n" if match[1] == "n" else "\\"


def small_number(text: str) -> int | None:
    """Return a whole number of at most nine digits, as every column of numbers holds; or None."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def folded(text: str) -> str:
    """Return `text` as a search compares it: case, accents and compatible forms (full width, ligatures) make no difference.

    Of combining marks only accents go, those above, below and through a letter; marks that are half
    of a letter stay.
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
