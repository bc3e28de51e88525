"""The status line of a text. static/js/sentences.js has the same sentences, for texts that grow."""

from __future__ import annotations

from django.utils.html import format_html

from generator.models import Generation

State = Generation.State


def status_line(generation: Generation) -> str:
    """Return the state of a generation as a sentence. An error in it is an element of its own."""
    if generation.note and not generation.has_ended:
        return generation.note
    count = len(generation.text)
    characters = f"{count:,} character{'' if count == 1 else 's'}"
    match generation.state:
        case State.QUEUED:
            return "Waiting for a worker"
        case State.RUNNING:
            return "Generating"
        case State.DONE:
            stopped = generation.finish_reason == "stop"
            return f"{'Done at a stop string' if stopped else 'Done'}, {characters}"
        case State.CANCELLED:
            return f"Stopped after {characters}"
    if not generation.error:
        return f"Failed after {characters}"
    return format_html("Failed after {}: <bdi>{}</bdi>", characters, generation.error)
