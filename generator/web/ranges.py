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
        "typed": "What is typed is text.",
        "fork_offset": (
            "The fork offset is a whole number of characters, from 0 to the length of the"
            " manuscript, or empty for its end."
        ),
        "parent": "The parent must be the id of one of your texts.",
        "client_key": f"A client key is text of at most {CLIENT_KEY_LENGTH} characters.",
    }[name]


def manuscript_full(room: int) -> str:
    """Return what to do when no more than `room` characters fit into a manuscript."""
    limit = f"A manuscript may have {settings.MANUSCRIPT_MAX_LENGTH:,} characters at most."
    if room > 0:
        return f"{limit} Ask for a length of {room:,} or less."
    return f"{limit} Begin a new text with the last lines of this one."


def messages(name: str, version: ModelVersion | None = None) -> dict[str, str]:
    """Return a field's sentence under the code of each error that Django may find in it."""
    said = dict.fromkeys(
        ("required", "invalid", "invalid_choice", "min_value", "max_value", "max_length"),
        sentence(name, version),
    )
    what = {"prompt": "The prompt", "typed": "What is typed"}.get(name)
    if what:
        limit = f"{settings.PROMPT_MAX_LENGTH:,}"
        said["max_length"] = (
            f"{what} may have {limit} characters at most; this one has %(show_value)d."
        )
    return said | {"null_characters_not_allowed": NO_TEXT}
