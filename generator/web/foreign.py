"""What a person or a model wrote, among our own words: it must not turn them round, nor hide in them.

In HTML a <bdi> does that, which is a box of its own (static/css/base.css), and for texts that flow
`tamed`; in plain text, which has no elements, `isolated`. A <bdi> that flows would not do: to a
browser its start and end are characters, and what it holds may end it.
"""

from __future__ import annotations

import re
import unicodedata

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

_ISOLATE, _END = "\u2068", "\u2069"
_CONTROLS = re.compile(
    "[\u202a-\u202e\u2066-\u2069]"
)  # what overrides or embeds a direction, or ends an isolate early
_SPLIT = re.compile(f"({_CONTROLS.pattern})")
_UNSEEN = "CZ"  # the first letters of the Unicode categories of controls, formats and spaces


def isolated(text: str) -> str:
    """Return `text` on one line, with a direction of its own that ends where the text ends."""
    return f"{_ISOLATE}{' '.join(_CONTROLS.sub('', text).split())}{_END}"


def tamed(text: str) -> SafeString:
    """Return `text` as HTML in which each control of direction stands in a box of its own, without effect; it can be copied."""
    parts = (
        format_html('<span class="control">{}</span>', part) if _CONTROLS.match(part) else part
        for part in _SPLIT.split(text)
    )
    return format_html_join("", "{}", ((part,) for part in parts))


def visible(character: str) -> str:
    """Return a character, or its number where it could not be seen."""
    return f"U+{ord(character):04X}" if unicodedata.category(character)[0] in _UNSEEN else character
