"""What each field of a submit may be, in one sentence for the page and the JSON interface."""

from __future__ import annotations

from django.conf import settings

from generator.models import ModelVersion
from ml.sampling import SEED_LIMIT

CLIENT_KEY_LENGTH = 64
NO_TEXT = "This contains the NUL character (U+0000). Remove it."


def sentence(name: str, version: ModelVersion | None = None) -> str:
    """Return what a field may hold. The `version` limits top-k to the size of its vocabulary."""
    known = f"from 1 to {version.vocabulary_size:,}" if version else "of 1 or more"
    return {
        "prompt": "The prompt is text.",
        "length": f"Length is a whole number from 1 to {settings.GENERATION_MAX_LENGTH:,}.",
        "temperature": f"Temperature is a number from 0 to {settings.TEMPERATURE_MAX:g}.",
        "top_k": f"Top-k is a whole number {known}, or empty for all characters.",
        "top_p": "Top-p is a number above 0 and up to 1, or empty for all characters.",
        "seed": f"Seed is a whole number from 0 to {SEED_LIMIT - 1:,}, or empty for a new one.",
        "stop": "Stop strings are a list of texts.",
        "version": "This version does not exist or cannot write at the moment. Choose another.",
        "parent": "The parent must be the id of one of your texts.",
        "client_key": f"A client key is text of at most {CLIENT_KEY_LENGTH} characters.",
    }[name]


def messages(name: str, version: ModelVersion | None = None) -> dict[str, str]:
    """Return a field's sentence under the code of each error that Django may find in it."""
    said = dict.fromkeys(
        ("required", "invalid", "invalid_choice", "min_value", "max_value", "max_length"),
        sentence(name, version),
    )
    if name == "prompt":
        limit = f"{settings.PROMPT_MAX_LENGTH:,}"
        said["max_length"] = (
            f"The prompt may have {limit} characters at most; this one has %(show_value)d."
        )
    return said | {"null_characters_not_allowed": NO_TEXT}
