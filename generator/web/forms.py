"""The fields of a submit. One form validates a page's fields and the API's JSON.

Limits come from the settings.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MaxValueValidator
from django.http import HttpRequest

from generator.models import Generation, ModelVersion, Owner
from generator.parameters import Parameters
from generator.selectors import generation_of, live_version, version_choices
from generator.text import plain_newlines, stop_line, stop_of_line
from generator.web import ranges
from generator.web.foreign import isolated
from ml.sampling import SEED_LIMIT

DEFAULTS: dict[str, Any] = {"prompt": "", "length": 500, "temperature": 0.7}

_HUGE = 2**128  # more than any field takes; a larger number may not even convert to a float

# The JSON types of each field of an API submit. bool is a subclass of int, and is refused.
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "prompt": (str,),
    "length": (int,),
    "temperature": (int, float),
    "top_k": (int, type(None)),
    "top_p": (int, float, type(None)),
    "seed": (int, str, type(None)),  # text too, since browsers round integers above 2^53
    "stop": (list,),
    "version": (int, type(None)),
    "parent": (str, type(None)),
    "client_key": (str,),
}


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


class ClientKeyForm(forms.Form):
    """The key by which a submit that is sent twice makes one generation."""

    client_key = TypedField(
        required=False, max_length=ranges.CLIENT_KEY_LENGTH, widget=forms.HiddenInput
    )

    live: ModelVersion | None = None  # its vocabulary is named in a sentence

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.error_messages |= ranges.messages(name, self.live)

    def clean_client_key(self) -> str:
        _encodable(self.cleaned_data["client_key"])
        return str(self.cleaned_data["client_key"])


class GenerationForm(ClientKeyForm):
    """The parameters of one generation."""

    prompt = TypedField(required=False, strip=False, widget=forms.Textarea(attrs={"rows": 4}))
    length = forms.IntegerField(min_value=1)
    temperature = forms.FloatField(min_value=0, max_value=settings.TEMPERATURE_MAX)
    top_k = forms.IntegerField(required=False, min_value=1)
    top_p = forms.FloatField(required=False, max_value=1)
    stop = StopField(required=False, strip=False, widget=forms.Textarea(attrs={"rows": 2}))
    seed = forms.IntegerField(required=False, min_value=0, max_value=SEED_LIMIT - 1)
    version = VersionField(
        ModelVersion.objects.none(),
        required=False,
        to_field_name="version",
        empty_label=None,
    )
    parent = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, owner: Owner | None = None, **kwargs: Any) -> None:
        self.live = live_version()
        super().__init__(*args, **kwargs)
        self.owner = owner
        self.fields["version"].queryset = version_choices()  # type: ignore[attr-defined]
        self.fields["prompt"].validators.append(MaxLengthValidator(settings.PROMPT_MAX_LENGTH))
        self.fields["prompt"].widget.attrs["maxlength"] = settings.PROMPT_MAX_LENGTH
        self.fields["length"].validators.append(MaxValueValidator(settings.GENERATION_MAX_LENGTH))
        self.fields["length"].widget.attrs["max"] = settings.GENERATION_MAX_LENGTH
        self.fields["top_p"].validators.append(_above_zero)

    def clean_prompt(self) -> str:
        prompt: str = self.cleaned_data["prompt"]
        _encodable(prompt)
        if len(unicodedata.normalize("NFKC", prompt)) > 2 * settings.PROMPT_MAX_LENGTH:
            raise ValidationError(
                "The prompt becomes too long when its characters are written out. "
                "Please shorten it."
            )
        return prompt

    def clean_stop(self) -> list[str]:
        for line in self.cleaned_data["stop"]:
            _encodable(line)
            if "\ufeff" in line:  # the model's reading drops it
                raise ValidationError("A byte order mark (U+FEFF) cannot be a stop string.")
        return list(self.cleaned_data["stop"])

    def clean_parent(self) -> Generation | None:
        if not (parent_id := self.cleaned_data["parent"]):
            return None
        if parent := generation_of(self.owner, parent_id):
            return parent
        raise ValidationError(ranges.sentence("parent"))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        version = self.chosen_version
        if "top_k" in self.errors or (
            version and (cleaned.get("top_k") or 0) > version.vocabulary_size
        ):
            self.errors.pop("top_k", None)
            self.add_error("top_k", ranges.sentence("top_k", version))
        return cleaned

    @property
    def chosen_version(self) -> ModelVersion | None:
        """The version that would write: the one asked for, else the live one."""
        return self.cleaned_data.get("version") or self.live

    def parameters(self) -> Parameters:
        """Return the validated submit."""
        version, parent = self.cleaned_data["version"], self.cleaned_data["parent"]
        return Parameters.asked(
            self.cleaned_data,
            version_id=version and version.pk,
            parent_id=parent and parent.pk,
        )


def _above_zero(value: float) -> None:
    if value <= 0:
        raise ValidationError("", code="min_value")  # the field has a message for this code


def _encodable(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValidationError(
            "The text contains half of a character pair (a lone surrogate). Remove it."
        ) from None


def submitted_form(request: HttpRequest, owner: Owner | None) -> GenerationForm:
    """Return the bound form of a page's or a JSON submit; missing fields have their defaults."""
    if request.content_type != "application/json":
        return GenerationForm({**DEFAULTS, **request.POST.dict()}, owner=owner)
    body, odd, problem = _json_body(request.body)
    form = GenerationForm({**DEFAULTS, **body}, owner=owner)
    form.full_clean()
    if problem:
        form.add_error(None, problem)
    for name in odd:
        form.add_error(name, ranges.sentence(name, form.chosen_version))
    return form


def _json_body(raw: bytes) -> tuple[dict[str, Any], list[str], str]:
    """Return a JSON submit's fields, the names of those of a wrong type, and a problem or "".

    The problem is one of the whole body, or a name that is no parameter.
    """
    try:
        body = json.loads(raw, parse_constant=lambda name: f"<{name}>")
    except (ValueError, RecursionError):
        return {}, [], "The body is not JSON."
    if not isinstance(body, dict):
        return {}, [], "The body is not a JSON object."
    fields: dict[str, Any] = {}
    odd, problem = [], ""
    for name, value in body.items():
        types = _JSON_TYPES.get(name)
        if types is None:
            problem = f"There is no parameter {isolated(name[:40])}."
        elif (
            isinstance(value, bool)
            or not isinstance(value, types)
            or (isinstance(value, int) and abs(value) >= _HUGE)
        ):
            odd.append(name)
        else:
            fields[name] = value
    return fields, odd, problem
