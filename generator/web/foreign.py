"""Text of people and models among our own words, which it must not reverse.

Short text in HTML is put in a <bdi>, which is a box (static/css/base.css). Running text in HTML
uses `tamed`, plain text `isolated`. A <bdi> without a box does not help: browsers treat its start
and end as characters, and a control in the text can end it.
"""

from __future__ import annotations

import re
import unicodedata

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

_ISOLATE, _END = "\u2068", "\u2069"
# Characters that override or embed a direction, or end an isolate.
_CONTROLS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_SPLIT = re.compile(f"({_CONTROLS.pattern})")
_UNSEEN = "CZ"  # Unicode categories of controls, formats and spaces begin with these


def isolated(text: str) -> str:
    """Return `text` on one line, as an isolate that nothing in it can end."""
    return f"{_ISOLATE}{' '.join(_CONTROLS.sub('', text).split())}{_END}"


def tamed(text: str) -> SafeString:
    """Return `text` as HTML. Controls of direction are boxed: without effect, but copied."""
    parts = (
        format_html('<span class="control">{}</span>', part) if _CONTROLS.match(part) else part
        for part in _SPLIT.split(text)
    )
    return format_html_join("", "{}", ((part,) for part in parts))


def visible(character: str) -> str:
    """Return a character, or its number if it is invisible."""
    return f"U+{ord(character):04X}" if unicodedata.category(character)[0] in _UNSEEN else character
