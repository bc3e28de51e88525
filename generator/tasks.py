"""Celery tasks: thin, idempotent, with ids as arguments.

`generate` runs in workers, the rest in housekeeping. Beat loads this module, too, so what needs the
engine's libraries (33 MB) is imported in the functions that use it.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from celery import current_app, shared_task
from celery.signals import worker_init, worker_ready, worker_shutdown
from celery.worker.state import maybe_shutdown

from generator import heartbeats, search, services
from generator.models import Promotion
from generator.operations import housekeeping
from generator.versions import ledger
from generator.worker import stopping

if TYPE_CHECKING:
    from generator.worker.runtime import Runtime

logger = logging.getLogger(__name__)
HOUSEKEEPING_QUEUE = "housekeeping"
TICKS_APART = 1.0  # seconds
LOOK = 0.05  # seconds between checks for a stop while the model is loaded


# Confirmed at its end, so that a worker takes no more messages than it has threads.
@shared_task(acks_late=True)
def generate(generation_id: str) -> None:
    """Write one generation; a second delivery of the same id finds nothing to claim."""
    try:
        key = UUID(generation_id)
    except ValueError:
        logger.warning("rejected the id of a text that cannot exist: %r", generation_id[:80])
        return
    _runtime().write(key)


_last_look = [-TICKS_APART]


@shared_task
def requeue() -> None:
    """Requeue the texts of lost workers, resend lost messages, and fold ended texts for searches.

    Ticks that have piled up count as one.
    """
    if time.monotonic() - _last_look[0] < TICKS_APART:
        return
    _last_look[0] = time.monotonic()
    host, pid = socket.gethostname(), os.getpid()
    heartbeats.heartbeat(
        worker_id=f"housekeeping-{host}",
        role=heartbeats.Role.HOUSEKEEPING,
        host=host,
        pid=pid,
        versions=[],
        active=0,
        consumes=True,
    )
    heartbeats.forget_silent()
    if count := housekeeping.requeue_lost():
        logger.warning("requeued %d texts of silent workers", count)
    search.texts_fold()
    if count := housekeeping.send_again():
        logger.warning("sent %d waiting texts again, whose messages were lost", count)


@shared_task
def forget_ended() -> None:
    """Remove ended sessions and submits that no longer count."""
    housekeeping.forget_ended()


@shared_task
def registry_sync() -> None:
    """Mirror the model registry and follow its alias. While it is away, the mirrored rows serve."""
    from generator.versions import registry

    registry.look()


@shared_task
def promote(promotion_id: int) -> None:
    """Carry out a requested switch of the live version."""
    from generator.versions import registry

    promotion = Promotion.objects.filter(pk=promotion_id).first()
    if promotion and ledger.promotion_is_open(promotion=promotion):
        registry.carry_out(promotion)


def _runtime() -> Runtime:
    """Return what writes texts in this process."""
    from generator.worker.runtime import runtime

    return runtime()


def _consumes(application: Any, queue: str) -> bool:
    """Tell whether this Celery worker takes tasks from `queue`."""
    return queue in application.amqp.queues.consume_from


@worker_init.connect
def watch_for_stop(**_: object) -> None:
    """Watch for a stop before Celery handles signals. Before this, a signal ends the process."""
    stopping.watch(_drain, _say_goodbye)


def _drain() -> None:
    """Stop all streams at their next character. The tasks then save and requeue their texts."""
    if _consumes(current_app, services.GENERATE_QUEUE):
        _runtime().drain()


def _say_goodbye() -> None:
    if _consumes(current_app, services.GENERATE_QUEUE):
        _runtime().close()


@worker_ready.connect
def start_runtime(sender: Any, **_: object) -> None:
    """Start engines and heartbeats, or housekeeping's first tasks. Celery takes tasks after it."""
    if _consumes(sender.app, services.GENERATE_QUEUE):
        ready = _runtime().start()
        while not ready(LOOK):  # in short waits, because this thread has to notice a stop
            maybe_shutdown()
        sender.hub.call_soon(_runtime().consuming)
        sender.hub.call_repeatedly(1.0, _runtime().consuming)
    elif _consumes(sender.app, HOUSEKEEPING_QUEUE):
        forget_ended.delay()  # a copy that is stopped every evening never reaches its hourly beat
        registry_sync.delay()  # it imports mlflow, which takes seconds: a switch need not wait


@worker_shutdown.connect
def close_runtime(sender: Any, **_: object) -> None:
    """End the heartbeat, as the last thing that a worker does."""
    if _consumes(sender.app, services.GENERATE_QUEUE):
        _runtime().close()
        if _runtime().loading:  # a library that is interrupted at exit aborts the process
            os._exit(sender.exitcode or os.EX_OK)
