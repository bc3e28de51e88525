"""Writes to generations. Views, consumers, tasks and commands call these and hold no rules.

Every change of state is a conditional UPDATE: of two that compete, one finds no row and does
nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from celery import current_app
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now
from django.utils import timezone
from kombu.exceptions import OperationalError

from generator import admission, clock
from generator.models import Generation, GenerationQuerySet, Owner, Submit
from generator.parameters import Parameters
from generator.redis_store import notify, stream_log

logger = logging.getLogger(__name__)
State = Generation.State
GENERATE_QUEUE = "generate"


def generation_start(
    *, owner: Owner, parameters: Parameters, client_key: str = "", address: str = ""
) -> Generation:
    """Store a generation and send it to the workers.

    The second submit of a `client_key` returns the generation that the first one made. Raises
    AdmissionError if a limit of the owner, the queue or the `address` is reached, if no version is
    live, or if the key has made another text.
    """
    if existing := _submitted_before(owner, client_key, parameters):
        return existing
    try:
        with admission.address_counted(address), transaction.atomic():
            if existing := _submitted_before(owner, client_key, parameters):
                return existing
            live = admission.admit(owner)
            pinned = replace(parameters, version_id=parameters.version_id or live.pk)
            generation = Generation.objects.create(
                **owner.fields,
                **pinned.columns(),
                client_key=client_key,
                client_digest=parameters.digest if client_key else "",
                dispatched_at=Now(),
            )
            transaction.on_commit(lambda: dispatch(generation.pk))
            return generation
    except IntegrityError:  # the same form was sent twice at once, and the other one was first
        if existing := _submitted_before(owner, client_key, parameters):
            return existing
        raise


def _submitted_before(owner: Owner, client_key: str, parameters: Parameters) -> Generation | None:
    """Return the generation that the key has made. Raises KeyUsed if it has other parameters."""
    if not client_key:
        return None
    existing = Generation.objects.owned_by(owner).filter(client_key=client_key).first()
    if existing and existing.client_digest not in {"", parameters.digest}:
        raise admission.KeyUsed
    return existing


def dispatch(generation_id: UUID) -> bool:
    """Send a queued generation to the workers, and return whether the broker took it.

    If it did not, the row stays queued and housekeeping sends it later.
    """
    try:
        current_app.send_task("generator.tasks.generate", args=[str(generation_id)])
    except OperationalError as error:
        logger.warning("generation %s waits for the broker: %s", generation_id, error)
        return False
    return True


def generation_cancel(*, generation: Generation) -> None:
    """Stop a generation and keep what was written. One that has ended is left as it is."""
    row = Generation.objects.filter(pk=generation.pk)
    # The request is recorded first, so that whoever changes the state next sees it.
    if not row.filter(state__in=(State.QUEUED, State.RUNNING)).update(cancel_requested=True):
        return
    if not end_cancelled(row.filter(state=State.QUEUED)):
        notify.cancel_running(generation.pk)


def end_cancelled(rows: GenerationQuerySet, **changes: Any) -> bool:
    """End those of `rows` that are to be cancelled, with all the text that was shown.

    No worker may be writing them. Returns whether there was one.
    """
    requested = rows.filter(cancel_requested=True)
    ended = False
    for pk, text in list(requested.values_list("pk", "text")):
        values = {"text": stream_log.known_text(pk, text), "finished_at": timezone.now(), **changes}
        if requested.filter(pk=pk).update(
            state=State.CANCELLED, finish_reason="cancelled", **values
        ):
            notify.generation_changed(pk)
            ended = True
    return ended


def generation_delete(*, generation: Generation) -> None:
    """Delete a generation. A worker that writes it stops, because its next write finds no row."""
    pk = generation.pk
    generation.delete()
    notify.cancel_running(pk)
    notify.generation_changed(pk)
    stream_log.forget(pk)


def visitor_adopt(*, visitor: Owner, user_id: int) -> None:
    """Make a visitor's generations a user's. Submits of the last minute count on, for the user."""
    theirs, mine = Generation.objects.owned_by(visitor), Generation.objects.owned_by(Owner(user_id))
    with transaction.atomic():
        # One key makes one generation of an owner.
        theirs.filter(client_key__in=mine.exclude(client_key="").values("client_key")).update(
            client_key=""
        )
        theirs.update(user_id=user_id, visitor="")
        Submit.objects.filter(visitor=visitor.visitor).update(user_id=user_id, visitor="")


def generation_claim(*, generation_id: UUID, worker_id: str) -> Generation | None:
    """Take a queued generation for a worker. None: it was taken, cancelled or deleted before."""
    queued = Generation.objects.filter(pk=generation_id, state=State.QUEUED, cancel_requested=False)
    with transaction.atomic():  # if the row cannot be read, the claim is undone
        claimed = queued.update(
            state=State.RUNNING,
            attempt=F("attempt") + 1,
            worker_id=worker_id,
            started_at=Coalesce(F("started_at"), timezone.now()),
        )
        if not claimed:
            return None
        return Generation.objects.select_related("model_version").get(pk=generation_id)


def generation_note_unknown(*, generation: Generation, characters: str) -> None:
    """Store which characters of the prompt the model does not know."""
    Generation.objects.filter(pk=generation.pk).update(unknown_characters=characters[:2_000])


def generation_note(*, generation: Generation, note: str) -> None:
    """Store why no character comes yet, for the people who wait; an empty note removes it."""
    Generation.objects.held_by(generation.pk, generation.attempt).update(note=note)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a worker has written of one generation so far."""

    generation_id: UUID
    attempt: int
    text: str
    first_character_at: datetime | None


def generations_save(rows: Iterable[Progress]) -> set[tuple[UUID, int]]:
    """Save running texts in one transaction; return the attempts that must stop.

    Those are cancelled, deleted, or overtaken by a later attempt.
    """
    stop: set[tuple[UUID, int]] = set()
    with transaction.atomic():
        for row in rows:
            held = Generation.objects.held_by(row.generation_id, row.attempt)
            if not held.filter(cancel_requested=False).update(text=row.text, **_first(row)):
                stop.add((row.generation_id, row.attempt))
    return stop


def generation_finish(*, progress: Progress, state: str, reason: str, error: str = "") -> bool:
    """Write the final row. False: this attempt no longer holds the row, and nothing was written."""
    held = Generation.objects.held_by(progress.generation_id, progress.attempt)
    changes = {
        "text": progress.text,
        "finished_at": timezone.now(),
        "error": error[:500],
        **_first(progress),
    }
    return bool(held.update(state=state, finish_reason=reason, **changes))


def generation_requeue(
    *, progress: Progress, failed: bool = False, note: str = "", after: float = 0
) -> bool:
    """Queue a running generation again, with what was written so far, and send it to the workers.

    With `after`, housekeeping sends it when that many seconds have passed, because workers would
    read a message at once. A generation that is to be cancelled ends here. `failed` counts the
    attempt as a failure of the model. False: this attempt no longer holds the row, and nothing was
    written.
    """
    held = Generation.objects.held_by(progress.generation_id, progress.attempt)
    written = {"text": progress.text, **_first(progress)}
    requeued = held.filter(cancel_requested=False).update(
        state=State.QUEUED,
        dispatched_at=clock.ago(settings.DISPATCH_RETRY - after) if after else Now(),
        failures=F("failures") + int(failed),
        note=note,
        **written,
    )
    if requeued and not after:
        dispatch(progress.generation_id)
    return bool(requeued) or end_cancelled(held, **written)


def generation_attempt_failed(*, progress: Progress, error: str, after: float = 0) -> None:
    """Queue a generation again in `after` seconds, because the model failed on it.

    After GENERATION_MAX_FAILURES failures it ends as failed.
    """
    held = Generation.objects.held_by(progress.generation_id, progress.attempt)
    failures = held.values_list("failures", flat=True).first()
    if failures is not None and failures + 1 >= settings.GENERATION_MAX_FAILURES:
        held.update(failures=failures + 1)
        generation_finish(progress=progress, state=State.FAILED, reason="error", error=error)
    else:
        tries = f"trying again, {(failures or 0) + 2} of {settings.GENERATION_MAX_FAILURES}"
        generation_requeue(
            progress=progress, failed=True, note=f"{error[:150].rstrip('.')}; {tries}", after=after
        )


def _first(progress: Progress) -> dict[str, Any]:
    """Return the change that stores the time of the first character, unless it is known already."""
    if progress.first_character_at is None:
        return {}
    return {"first_character_at": Coalesce(F("first_character_at"), progress.first_character_at)}
