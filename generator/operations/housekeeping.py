"""Housekeeping: texts whose worker or message was lost, cancels that wait, rows to forget."""

from __future__ import annotations

from importlib import import_module
from itertools import takewhile
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now
from redis.exceptions import RedisError

from generator import admission, clock, heartbeats, services
from generator.models import Generation
from generator.redis_store import broker, notify
from generator.services import Progress

State = Generation.State


def requeue_lost() -> int:
    """Requeue the texts of silent workers, and return how many they are.

    A text that has lost too many workers fails, because it may be what ends them.
    """
    lost = Generation.objects.filter(state=State.RUNNING).exclude(
        worker_id__in=heartbeats.alive(heartbeats.Role.WORKER).values("pk")
    )
    rows = list(lost.values_list("pk", "attempt", "text"))
    for pk, attempt, text in rows:
        held = Generation.objects.held_by(pk, attempt)
        if attempt >= settings.GENERATION_MAX_ATTEMPTS:
            error = f"Its worker was lost {attempt} times."
            progress = Progress(pk, attempt, text, None)
            services.generation_finish(
                progress=progress, state=State.FAILED, reason="error", error=error
            )
        elif held.filter(cancel_requested=False).update(state=State.QUEUED, dispatched_at=Now()):
            services.dispatch(pk)
        else:
            services.end_cancelled(held)
    for pk, *_ in rows:  # when all are queued, because pages show the place in the queue
        notify.generation_changed(pk)
    return len(rows)


# Texts without a message at the last look. A worker that has just taken one says so on the row a
# moment later.
_missing: set[UUID] = set()


def send_again() -> int:
    """Send waiting texts again whose messages were lost; return how many.

    A message is lost if the broker has none for the text at two looks in a row, however long the
    text waits. While the broker is away nothing is sent.
    """
    waiting = Generation.objects.filter(state=State.QUEUED)
    services.end_cancelled(waiting)
    overdue = waiting.exclude(dispatched_at__gte=clock.ago(settings.DISPATCH_RETRY)).order_by(
        "created_at"
    )
    unsent = list(overdue.values_list("pk", flat=True))
    try:
        held = _held() if unsent else set()
    except (RedisError, OSError):
        return 0
    missing = [pk for pk in unsent if str(pk) not in held]
    lost = [pk for pk in missing if pk in _missing]
    _missing.clear()
    _missing.update(missing)
    sent = list(takewhile(services.dispatch, lost))
    Generation.objects.filter(pk__in=sent).update(dispatched_at=Now())
    return len(sent)


def forget_ended() -> None:
    """Remove sessions that have ended, and submits too old to count towards a limit."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
    admission.submits_forget(clock.now())


def _held() -> set[str]:
    """Return the ids of the texts that have a message in the queue."""
    return {
        str(argument)
        for message in broker.waiting(services.GENERATE_QUEUE)
        for argument in message.args
    }
