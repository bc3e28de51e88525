"""Fields of the forms: typed text, stop strings, model versions."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from generator.text import plain_newlines, stop_line, stop_of_line


class TypedField(forms.CharField):
    """Text in which every line break is one character before its length is checked."""

    def to_python(self, value: Any) -> Any:
        return super().to_python(plain_newlines(value) if isinstance(value, str) else value)


class StopField(forms.CharField):
    """Stop strings: one on each line of a page's field, a list in JSON."""

    def prepare_value(self, value: Any) -> Any:
        """Return a list of stop strings as the lines that stand for them."""
        if not isinstance(value, list):
            return value
        return "\n".join(stop_line(stop) for stop in value if stop and isinstance(stop, str))

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):
            return [
                plain_newlines(stop) if isinstance(stop, str) else stop
                for stop in value
                if stop != ""
            ]
        try:
            return [stop_of_line(line) for line in plain_newlines(value or "").split("\n") if line]
        except ValueError:
            raise ValidationError(
                "A backslash in a stop string stands before n, for a line break, "
                "or before a second backslash, for a backslash."
            ) from None

    def validate(self, value: list[Any]) -> None:
        if not all(
            isinstance(line, str) and len(line) <= settings.STOP_MAX_LENGTH for line in value
        ):
            raise ValidationError(
                f"A stop string is text of at most {settings.STOP_MAX_LENGTH} characters."
            )
        if len(value) > settings.STOP_MAX_STRINGS:
            raise ValidationError(
                f"There may be {settings.STOP_MAX_STRINGS} stop strings at most, not {len(value)}."
            )

    def run_validators(self, value: list[str]) -> None:
        for line in value:
            super().run_validators(line)


class VersionField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A model version by its registry number; empty for the live one."""

    def label_from_instance(self, obj: Any) -> str:
        loss = f", {obj.validation_loss:.3f} nats/char" if obj.validation_loss is not None else ""
        return f"Version {obj.version}{' (live)' if obj.is_live else ''}{loss}"
