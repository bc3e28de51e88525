"""The fields of a submit. The same form validates a page's fields and the API's JSON.

Limits come from the settings.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Container
from typing import Any, TypeVar

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MaxValueValidator
from django.http import HttpRequest

from generator.models import Generation, ModelVersion, Owner
from generator.parameters import SAMPLING_NAMES, Parameters
from generator.selectors import generation_of, live_version, version_choices
from generator.web import ranges
from generator.web.fields import StopField, TypedField, VersionField
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
    "typed": (str,),
    "fork_offset": (int, type(None)),
    "client_key": (str,),
}


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


class SettingsForm(ClientKeyForm):
    """How a text is written: the sampling parameters and the version."""

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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.live = live_version()
        super().__init__(*args, **kwargs)
        self.fields["version"].queryset = version_choices()  # type: ignore[attr-defined]
        self.fields["length"].validators.append(MaxValueValidator(settings.GENERATION_MAX_LENGTH))
        self.fields["length"].widget.attrs["max"] = settings.GENERATION_MAX_LENGTH
        self.fields["top_p"].validators.append(_above_zero)

    def clean_stop(self) -> list[str]:
        for line in self.cleaned_data["stop"]:
            _encodable(line)
            if "\ufeff" in line:  # the model's reading drops it
                raise ValidationError("A byte order mark (U+FEFF) cannot be a stop string.")
        return list(self.cleaned_data["stop"])

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


class GenerationForm(SettingsForm):
    """The parameters of one generation."""

    prompt = TypedField(required=False, strip=False, widget=forms.Textarea(attrs={"rows": 4}))
    parent = forms.UUIDField(required=False, widget=forms.HiddenInput)
    field_order = ("client_key", "prompt")

    def __init__(self, *args: Any, owner: Owner | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.owner = owner
        _limit_typed(self.fields["prompt"])

    def clean_prompt(self) -> str:
        return _typed(self.cleaned_data["prompt"], "The prompt")

    def clean_parent(self) -> Generation | None:
        if not (parent_id := self.cleaned_data["parent"]):
            return None
        if parent := generation_of(self.owner, parent_id):
            return parent
        raise ValidationError(ranges.sentence("parent"))

    def parameters(self) -> Parameters:
        """Return the validated submit."""
        version, parent = self.cleaned_data["version"], self.cleaned_data["parent"]
        return Parameters.asked(
            self.cleaned_data,
            version_id=version and version.pk,
            parent_id=parent and parent.pk,
        )


class ContinueForm(SettingsForm):
    """How a text that has ended goes on: from where, with what is typed there, and how."""

    typed = TypedField(required=False, strip=False)
    fork_offset = forms.IntegerField(required=False, min_value=0)

    def __init__(self, *args: Any, parent: Generation, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parent = parent
        _limit_typed(self.fields["typed"])
        self.fields["fork_offset"].validators.append(MaxValueValidator(len(parent.manuscript)))

    def clean_typed(self) -> str:
        return _typed(self.cleaned_data["typed"], "What is typed")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if not self.errors:
            before = len(self.parameters().prompt)
            room = settings.MANUSCRIPT_MAX_LENGTH - before
            if cleaned["length"] > room:
                raise ValidationError(ranges.manuscript_full(room))
        return cleaned

    @property
    def hidden_errors(self) -> str:
        """What is wrong with fields that the page of a text does not show."""
        hidden = ("client_key", "fork_offset", "typed")
        return " ".join(str(error) for name in hidden for error in self.errors.get(name, ()))

    @property
    def chosen_version(self) -> ModelVersion:
        """The version that would write: the one asked for, else the one of the parent."""
        return self.cleaned_data.get("version") or self.parent.model_version

    def parameters(self) -> Parameters:
        """Return the validated continuation."""
        version_id = self.chosen_version.pk
        return Parameters.continuing(self.parent, self.cleaned_data, version_id=version_id)


def _limit_typed(field: forms.Field) -> None:
    field.validators.append(MaxLengthValidator(settings.PROMPT_MAX_LENGTH))
    field.widget.attrs["maxlength"] = settings.PROMPT_MAX_LENGTH


def _typed(text: str, what: str) -> str:
    """Return a text that the model can read. Raises ValidationError."""
    _encodable(text)
    if len(unicodedata.normalize("NFKC", text)) > 2 * settings.PROMPT_MAX_LENGTH:
        raise ValidationError(
            f"{what} becomes too long when its characters are written out. Please shorten it."
        )
    return text


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


Bound = TypeVar("Bound", bound=SettingsForm)


def submitted_form(request: HttpRequest, owner: Owner | None) -> GenerationForm:
    """Return the bound form of a page's or a JSON submit; missing fields have their defaults."""
    return _bound(request, DEFAULTS, GenerationForm, owner=owner)


def continue_form(request: HttpRequest, parent: Generation) -> ContinueForm:
    """Return the bound form of a continuation; missing fields are those of the parent.

    Only a missing seed is a new one: the parent's would repeat its random numbers.
    """
    return _bound(request, settings_of(parent), ContinueForm, parent=parent)


def settings_of(generation: Generation) -> dict[str, Any]:
    """Return the settings of a text by the names of their fields, without its seed."""
    return {name: getattr(generation, name) for name in SAMPLING_NAMES if name != "seed"}


def _bound(
    request: HttpRequest, defaults: dict[str, Any], form_class: type[Bound], **references: Any
) -> Bound:
    if request.content_type != "application/json":
        return form_class({**defaults, **request.POST.dict()}, **references)
    body, odd, problem = _json_body(request.body, form_class.base_fields)
    form = form_class({**defaults, **body}, **references)
    form.full_clean()
    if problem:
        form.add_error(None, problem)
    for name in odd:
        form.add_error(name, ranges.sentence(name, form.chosen_version))
    return form


def _json_body(raw: bytes, names: Container[str]) -> tuple[dict[str, Any], list[str], str]:
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
        types = _JSON_TYPES.get(name, ())
        if name not in names:
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
