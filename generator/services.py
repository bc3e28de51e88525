"""Writes to generations. Views, consumers, tasks and commands call these and hold no rules of their own.

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
    """Store a generation and send it to the workers. A repeated `client_key` returns the one already made.

    Raises AdmissionError when limits are reached, also that of the `address` it comes from, no
    version is live, or the key has made another text.
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
    except IntegrityError:  # the same form, sent twice at once: the other one was first
        if existing := _submitted_before(owner, client_key, parameters):
            return existing
        raise


def _submitted_before(owner: Owner, client_key: str, parameters: Parameters) -> Generation | None:
    """Return what the key has made already. Raises KeyUsed when that was asked for in other words."""
    existing = (
        Generation.objects.owned_by(owner).filter(client_key=client_key).first()
        if client_key
        else None
    )
    if existing and existing.client_digest not in {"", parameters.digest}:
        raise admission.KeyUsed
    return existing


def dispatch(generation_id: UUID) -> bool:
    """Send a queued generation to the workers. With the broker away the row stays queued and housekeeping sends it."""
    try:
        current_app.send_task("generator.tasks.generate", args=[str(generation_id)])
    except OperationalError as error:
        logger.warning("generation %s waits for the broker: %s", generation_id, error)
        return False
    return True


def generation_cancel(*, generation: Generation) -> None:
    """Stop a generation; what was written stays. One that has ended already is left as it is."""
    row = Generation.objects.filter(pk=generation.pk)
    # The wish goes first: whoever changes the state next sees it, so that it cannot fall between
    # two states.
    if not row.filter(state__in=(State.QUEUED, State.RUNNING)).update(cancel_requested=True):
        return
    if not end_cancelled(row.filter(state=State.QUEUED)):
        notify.cancel_running(generation.pk)


def end_cancelled(rows: GenerationQuerySet, **changes: Any) -> bool:
    """End those of `rows`, which no worker writes, whose cancel was asked for; with all the text that was shown."""
    wished = rows.filter(cancel_requested=True)
    ended = False
    for pk, text in list(wished.values_list("pk", "text")):
        values = {"text": stream_log.known_text(pk, text), "finished_at": timezone.now(), **changes}
        if wished.filter(pk=pk).update(state=State.CANCELLED, finish_reason="cancelled", **values):
            notify.generation_changed(pk)
            ended = True
    return ended


def generation_delete(*, generation: Generation) -> None:
    """Remove a generation for good. If a worker is writing it, its next write finds no row and it stops."""
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
    """Take a queued generation for a worker. None: another has it, or it was cancelled or deleted."""
    queued = Generation.objects.filter(pk=generation_id, state=State.QUEUED, cancel_requested=False)
    with transaction.atomic():  # a claim whose row could not be read would stay behind as running
        claimed = queued.update(
            state=State.RUNNING,
            attempt=F("attempt") + 1,
            worker_id=worker_id,
            started_at=Coalesce(F("started_at"), timezone.now()),
        )
        return (
            Generation.objects.select_related("model_version").get(pk=generation_id)
            if claimed
            else None
        )


def generation_note_unknown(*, generation: Generation, characters: str) -> None:
    """Remember which characters of the prompt the model does not know."""
    Generation.objects.filter(pk=generation.pk).update(unknown_characters=characters[:2_000])


def generation_note(*, generation: Generation, note: str) -> None:
    """Tell whoever waits why no character comes yet; an empty note says that they come."""
    Generation.objects.held_by(generation.pk, generation.attempt).update(note=note)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a worker has written of one generation so far."""

    generation_id: UUID
    attempt: int
    text: str
    first_character_at: datetime | None


def generations_save(rows: Iterable[Progress]) -> set[tuple[UUID, int]]:
    """Save running texts in one transaction; return the attempts that must stop: cancelled, deleted or overtaken."""
    stop: set[tuple[UUID, int]] = set()
    with transaction.atomic():
        for row in rows:
            held = Generation.objects.held_by(row.generation_id, row.attempt)
            if not held.filter(cancel_requested=False).update(text=row.text, **_first(row)):
                stop.add((row.generation_id, row.attempt))
    return stop


def generation_finish(*, progress: Progress, state: str, reason: str, error: str = "") -> bool:
    """Write the final row. False: this attempt no longer holds it, and nothing was written."""
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
    """Give a running generation back, with what was written so far, and send it to the workers again.

    With `after` housekeeping sends it, once so many seconds have passed: a message would be read at
    once. One whose cancel was asked for ends here. `failed` counts the attempt as one that the
    model failed in. False: this attempt no longer holds the row, and nothing was written.
    """
    held = Generation.objects.held_by(progress.generation_id, progress.attempt)
    written = {"text": progress.text, **_first(progress)}
    given_back = held.filter(cancel_requested=False).update(
        state=State.QUEUED,
        dispatched_at=clock.ago(settings.DISPATCH_RETRY - after) if after else Now(),
        failures=F("failures") + int(failed),
        note=note,
        **written,
    )
    if given_back and not after:
        dispatch(progress.generation_id)
    return bool(given_back) or end_cancelled(held, **written)


def generation_attempt_failed(*, progress: Progress, error: str, after: float = 0) -> None:
    """Let a generation that the model failed in be tried again in `after` seconds, up to the limit; then it ends as failed."""
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
    """The moment of the first character, unless an earlier attempt had it."""
    if progress.first_character_at is None:
        return {}
    return {"first_character_at": Coalesce(F("first_character_at"), progress.first_character_at)}
