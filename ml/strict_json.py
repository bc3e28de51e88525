"""JSON by the letter, read and written: no key twice, no NaN, no number too large for a float."""

from __future__ import annotations

import json
import math
from typing import Any


def parse(raw: bytes) -> Any:
    """Return the value of a UTF-8 JSON text.

    Raises ValueError for anything else, and RecursionError for one that is nested too deeply.
    """
    return json.loads(
        raw.decode(),
        object_pairs_hook=_unique,
        parse_constant=_refuse_constant,
        parse_float=_finite,
    )


def serialize(value: Any, *, indent: int | None = None) -> str:
    """Return `value` as a JSON text. Raises ValueError for a number that is not finite."""
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key appears twice")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number that JSON knows")


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{text[:20]} is too large for a number")
    return number
