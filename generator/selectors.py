"""Reads. Nothing here changes a row."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import Case, F, Q, When
from django.db.models.functions import Left, Length, Now, Right
from django.db.models.query import QuerySet
from django.urls import reverse

from generator.models import Generation, ModelVersion, Owner
from generator.parameters import SAMPLING_NAMES, Parameters
from generator.search import matching

EXCERPT = 240  # characters of prompt and text in a list
EXCERPT_BEFORE = 80  # characters of a manuscript before the part that continues it
EXCERPT_SHORT = 60  # characters of a prompt that names its text
CONTINUATIONS = 50  # listed for one text
FEW = 1_000  # rows: a search that finds fewer keeps their ids
Watched = tuple[Owner, UUID]


def generation_of(owner: Owner | None, generation_id: UUID) -> Generation | None:
    """Return the owner's generation, or None if there is none with this id or it is another's."""
    return (
        Generation.objects.owned_by(owner)
        .select_related("model_version", "parent")
        .defer("folded", "parent__folded")
        .filter(pk=generation_id)
        .first()
    )


def generation_exists(owner: Owner | None, generation_id: UUID) -> bool:
    """Return whether the owner has this generation."""
    return Generation.objects.owned_by(owner).filter(pk=generation_id).exists()


def generation_is_anybodys(generation_id: UUID) -> bool:
    """Return whether anybody has this generation. Ask only on behalf of somebody who had it."""
    return Generation.objects.filter(pk=generation_id).exists()


def generation_row(owner: Owner | None, generation_id: UUID) -> Generation | None:
    """Return the same row as `generation_of`, without loading version and parent."""
    return Generation.objects.owned_by(owner).filter(pk=generation_id).order_by().first()


def watched_rows(asked: Collection[Watched]) -> dict[Watched, tuple[Generation, int | None]]:
    """Return each owner's generation with its place in the queue, in two queries for all.

    A generation that is not the owner's is left out.
    """
    rows = Generation.objects.owned_by_each(asked)
    places = queue_positions(rows.values())
    return {key: (row, places.get(row.pk)) for key, row in rows.items()}


def generation_list(
    owner: Owner | None, *, query: str = "", version: int | None = None, state: str = ""
) -> QuerySet[Generation]:
    """Return the owner's generations, newest first, with excerpts in place of whole texts."""
    rows: QuerySet[Generation] = Generation.objects.owned_by(owner)
    if query:
        rows = matching(rows, query)
    if version is not None:
        rows = rows.filter(model_version__version=version)
    if state in Generation.State.values:
        rows = rows.filter(state=state)
    if query:
        found = list(rows.order_by("-created_at", "-pk").values_list("pk", flat=True)[:FEW])
        if len(found) < FEW:  # then the caller can count and show them without a second search
            rows = Generation.objects.filter(pk__in=found)
    return (
        rows.select_related("model_version")
        .defer("text", "prompt", "folded")
        .annotate(
            prompt_excerpt=Case(
                When(fork_offset=None, then=Left(F("prompt"), EXCERPT)),
                default=Right(F("prompt"), EXCERPT_BEFORE),  # all of a manuscript begin alike
            ),
            text_excerpt=Left(F("text"), EXCERPT),
            text_length=Length("text"),
        )
        .order_by("-created_at", "-pk")
    )


def continuations(generation: Generation) -> QuerySet[Generation]:
    """Return what continues a text, the oldest first, each with an excerpt and its state."""
    return (
        Generation.objects.owned_by(generation.owner)
        .filter(parent=generation)
        .exclude(fork_offset=None)
        .annotate(text_excerpt=Left(F("text"), EXCERPT_SHORT))
        .only("pk", "state", "created_at")
        .order_by("created_at", "pk")[:CONTINUATIONS]
    )


def generations_active(owner: Owner | None) -> list[dict[str, str]]:
    """Return the owner's queued and running texts that were not stopped, the oldest first.

    Each has its id, its address, the address that stops it, and an excerpt.
    """
    rows = (
        Generation.objects.owned_by(owner)
        .exclude(state__in=Generation.ENDED)
        .filter(cancel_requested=False)
    )
    named = rows.order_by("created_at", "pk").values_list("pk", Left(F("prompt"), EXCERPT_SHORT))
    return [
        {
            "id": str(pk),
            "url": reverse("generation-detail", args=[pk]),
            "cancel": reverse("generation-cancel", args=[pk]),
            "excerpt": excerpt,
        }
        for pk, excerpt in named
    ]


def queue_positions(generations: Collection[Generation]) -> dict[UUID, int]:
    """Return the place of each queued generation; a worker takes number 1 next.

    One query, whose result is as long as the queue, which is bounded.
    """
    queued = Generation.State.QUEUED
    waiting = [generation for generation in generations if generation.state == queued]
    if not waiting:
        return {}
    rows = Generation.objects.filter(state=queued)
    queue = sorted(rows.values_list("created_at", flat=True))
    return {generation.pk: bisect_left(queue, generation.created_at) + 1 for generation in waiting}


def replay_verdict(generation: Generation) -> str:
    """Return "identical" or "different" if this repeats its parent and both are done, else "".

    It repeats its parent if all their parameters are equal and it does not continue it.
    """
    parent = generation.parent
    if parent is None or generation.fork_offset is not None:
        return ""
    if not (parent.state == generation.state == Generation.State.DONE):
        return ""
    if Parameters.of(parent) != Parameters.of(generation):
        return ""
    return "identical" if parent.sha256 == generation.sha256 else "different"


def live_version() -> ModelVersion | None:
    """Return the version that new generations use, if any."""
    return ModelVersion.objects.filter(is_live=True).first()


def version_choices() -> QuerySet[ModelVersion]:
    """Return the versions a visitor may choose, newest first: all usable ones, and the live one."""
    readable = Q(problem="") & (Q(files_retry_at=None) | Q(files_retry_at__lte=Now()))
    return ModelVersion.objects.filter(readable | Q(is_live=True)).order_by("-version")


def versions_all() -> QuerySet[ModelVersion]:
    """Return every version, newest first."""
    return ModelVersion.objects.order_by("-version")


def generation_as_dict(generation: Generation) -> dict[str, Any]:
    """Return everything about a generation as JSON values.

    The seed is text, because browsers round large integers.
    """
    return {
        "id": str(generation.pk),
        "state": generation.state,
        "finish_reason": generation.finish_reason,
        "error": generation.error,
        "note": "" if generation.has_ended else generation.note,
        "prompt": generation.prompt,
        "text": generation.text,
        "sha256": generation.sha256,
        "unknown_characters": generation.unknown_characters,
        **{name: getattr(generation, name) for name in SAMPLING_NAMES},
        "seed": str(generation.seed),
        "model": {
            "name": generation.model_version.name,
            "version": generation.model_version.version,
            "digest": generation.model_version.digest,
        },
        "parent": str(generation.parent_id) if generation.parent_id else None,
        "fork_offset": generation.fork_offset,
        "attempt": generation.attempt,
        "created_at": generation.created_at.isoformat(),
        "finished_at": generation.finished_at.isoformat() if generation.finished_at else None,
    }
