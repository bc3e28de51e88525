"""Typed reads of the environment. A value that does not parse is an error that names its variable.

Every variable read here is recorded in `DECLARED`. A test compares `.env.example` with it.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

DECLARED: dict[str, str] = {}  # variable name -> its default, as text
UNREADABLE = frozenset('%?*["\\')  # in the name of a folder, and control characters


def text(name: str, default: str = "") -> str:
    """Return the variable `name`, or `default` when it is unset or empty."""
    DECLARED[name] = default
    return os.environ.get(name, "").strip() or default


def boolean(name: str, default: bool) -> bool:
    """Return a variable that says true/false, yes/no, on/off or 1/0."""
    value = text(name, str(default).lower()).lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}")


def integer(name: str, default: int, *, minimum: int = 0, maximum: int | None = None) -> int:
    """Return a whole number of at least `minimum` and at most `maximum`."""
    value = text(name, str(default))
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}") from None
    if number < minimum:
        raise ImproperlyConfigured(f"{name} must be at least {minimum}, not {number}")
    if maximum is not None and number > maximum:
        raise ImproperlyConfigured(f"{name} must be at most {maximum}, not {number}")
    return number


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    """Return one of `allowed`."""
    value = text(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def items(name: str, default: str = "") -> list[str]:
    """Return a comma-separated list."""
    return [item.strip() for item in text(name, default).split(",") if item.strip()]


def path_prefix(name: str) -> str:
    """Return the path of the site, like /charrnn, without a slash at its end; "" for the root."""
    value = text(name).rstrip("/")
    if not re.fullmatch(r"(/[\w.~-]+)*", value, re.ASCII):
        raise ImproperlyConfigured(f"{name} must be a path like /charrnn, not {value!r}")
    return value


def path(name: str, default: Path, shown: str) -> Path:
    """Return a folder as an absolute path; `shown` is how documentation writes the default."""
    value = os.environ.get(name, "")
    DECLARED[name] = shown
    if not value.strip():
        return readable(default, name)
    if value != value.strip():
        raise ImproperlyConfigured(
            f"{name} {value!r} begins or ends with a blank; choose another folder."
        )
    try:
        return readable(Path(value).expanduser().resolve(), name)
    except RuntimeError as error:  # from Path: a loop of links, or a user without a home
        raise ImproperlyConfigured(
            f"{name} {value!r} cannot be used ({str(error).rstrip('.')}); choose another folder."
        ) from None


def readable(folder: Path, shown: str) -> Path:
    """Return `folder` if every process can read its name. Raises ImproperlyConfigured otherwise.

    supervisord expands percent signs and splits command lines at quotes. Redis splits its
    configuration at quotes and reads asterisks and brackets as patterns. SQLAlchemy, which MLflow
    uses, ends a path at a question mark.
    """
    for character in str(folder):
        if character in UNREADABLE or unicodedata.category(character) in {"Cc", "Cs"}:
            raise ImproperlyConfigured(
                f"{shown} {str(folder)!r} has {character!r} in its name, "
                "which not every part of it can read; choose another."
            )
    return folder
