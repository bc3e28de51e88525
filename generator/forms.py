"""What a submit may say. The same form validates a page's fields and an API's JSON; limits come from the settings."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MaxValueValidator
from django.http import HttpRequest

from generator.models import SEED_LIMIT, Generation, ModelVersion, Owner
from generator.selectors import generation_of, live_version, version_choices
from generator.services import Parameters
from generator.typed import plain_newlines, stop_line, stop_of_line

DEFAULTS: dict[str, Any] = {"prompt": "", "length": 500, "temperature": 0.7}

_HUGE = 2**128  # more than any field takes; what is larger may not even convert to a float

# JSON types of each field of an API submit; bool is an int to Python, and is refused
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
    """Text in which a line break is one character, before anything counts it."""

    def to_python(self, value: Any) -> Any:
        return super().to_python(plain_newlines(value) if isinstance(value, str) else value)


class StopField(forms.CharField):
    """Stop strings, one a line on a page, a list in JSON."""

    def prepare_value(self, value: Any) -> Any:
        """Return a list of stop strings as the lines that stand for them."""
        if not isinstance(value, list):
            return value
        return "\n".join(stop_line(stop) for stop in value if stop and isinstance(stop, str))

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):
            return [plain_newlines(stop) if isinstance(stop, str) else stop for stop in value if stop != ""]
        try:
            return [stop_of_line(line) for line in plain_newlines(value or "").split("\n") if line]
        except ValueError:
            raise ValidationError(
                "A backslash in a stop string stands before n, for a line break, or before a second backslash, for a backslash."
            ) from None

    def validate(self, value: list[Any]) -> None:
        if not all(isinstance(line, str) and len(line) <= settings.STOP_MAX_LENGTH for line in value):
            raise ValidationError(f"A stop string is text of at most {settings.STOP_MAX_LENGTH} characters.")
        if len(value) > settings.STOP_MAX_STRINGS:
            raise ValidationError(f"There may be {settings.STOP_MAX_STRINGS} stop strings at most, not {len(value)}.")

    def run_validators(self, value: list[str]) -> None:
        for line in value:
            super().run_validators(line)


class VersionField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A model version by its registry number; empty means the live one."""

    def label_from_instance(self, obj: Any) -> str:
        loss = f", {obj.validation_loss:.3f} nats/char" if obj.validation_loss is not None else ""
        return f"Version {obj.version}{' (live)' if obj.is_live else ''}{loss}"


class ClientKeyForm(forms.Form):
    """The key by which a submit that is sent twice makes one generation."""

    client_key = TypedField(required=False, max_length=64, widget=forms.HiddenInput)

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
    version = VersionField(ModelVersion.objects.none(), required=False, to_field_name="version", empty_label=None)
    parent = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, owner: Owner | None = None, **kwargs: Any) -> None:
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
            raise ValidationError("The prompt becomes too long when its characters are written out. Please shorten it.")
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
        raise ValidationError("There is no such generation of yours.")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        version = cleaned.get("version") or live_version()
        if version and (cleaned.get("top_k") or 0) > version.vocabulary_size:
            self.add_error("top_k", f"This model knows {version.vocabulary_size} characters; top-k cannot be more.")
        return cleaned

    def parameters(self) -> Parameters:
        """Return the validated submit."""
        names = ("prompt", "length", "temperature", "top_k", "top_p", "seed", "version", "parent")
        return Parameters(stop=tuple(self.cleaned_data["stop"]), **{name: self.cleaned_data[name] for name in names})


def _above_zero(value: float) -> None:
    if value <= 0:
        raise ValidationError("Ensure this value is greater than 0.")


def _encodable(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValidationError("The text holds half of a character pair (a lone surrogate), which is no character.") from None


def submitted_form(request: HttpRequest, owner: Owner | None) -> GenerationForm:
    """Return the bound form of a submit by page or by JSON; what is left out has its default."""
    if request.content_type != "application/json":
        return GenerationForm({**DEFAULTS, **request.POST.dict()}, owner=owner)
    body, errors = _json_body(request.body)
    form = GenerationForm({**DEFAULTS, **body}, owner=owner)
    for name, message in errors.items():
        form.add_error(name, message)
    return form


def _json_body(raw: bytes) -> tuple[dict[str, Any], dict[str | None, str]]:
    """Return the fields of a JSON submit, and what is wrong with their types."""
    try:
        body = json.loads(raw, parse_constant=lambda name: f"<{name}>")
    except (ValueError, RecursionError):
        return {}, {None: "The body is not JSON."}
    if not isinstance(body, dict):
        return {}, {None: "The body is not a JSON object."}
    errors: dict[str | None, str] = {}
    for name, value in list(body.items()):
        types = _JSON_TYPES.get(name)
        if types is None:
            errors[None] = f"There is no parameter {name[:40]!r}."
            del body[name]
        elif isinstance(value, int) and abs(value) >= _HUGE:
            errors[name] = "This number is out of range."
            del body[name]
        elif isinstance(value, bool) or not isinstance(value, types):
            errors[name] = "This is of the wrong type."
            del body[name]
    return body, errors
