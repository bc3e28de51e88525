"""What housekeeping sees to every two seconds: texts whose worker is lost, whose message is lost, whose cancel waits."""

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
    """Give back what silent workers were writing; return how many rows that were. One that ends its workers fails."""
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
    for pk, *_ in rows:  # only now: the place that a page is told counts those that wait before it
        notify.generation_changed(pk)
    return len(rows)


_missing: set[UUID] = (
    set()
)  # of the last look: who took a message says so on the row a moment later


def send_again() -> int:
    """Send those waiting generations again whose messages were lost; return how many.

    One that the broker holds a message for was not lost, however long it waits; lost is what has
    none at two looks in a row. With the broker away nothing is sent.
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
    """Return the ids of the generations that a message on the queue is about."""
    return {
        str(argument)
        for message in broker.waiting(services.GENERATE_QUEUE)
        for argument in message.args
    }
