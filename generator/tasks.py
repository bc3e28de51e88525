"""Celery tasks: thin, idempotent, with ids as arguments. `generate` runs in workers, the rest in housekeeping."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from typing import Any
from uuid import UUID

from celery import current_app, shared_task
from celery.signals import worker_init, worker_ready, worker_shutdown
from celery.worker.state import maybe_shutdown

from generator import heartbeats, search, services
from generator.models import Promotion
from generator.operations import housekeeping
from generator.versions import ledger
from generator.worker import stopping

logger = logging.getLogger(__name__)
HOUSEKEEPING_QUEUE = "housekeeping"
TICKS_APART = 1.0  # seconds
LOOK = 0.05  # seconds between looks whether to stop while the model is loaded


# Confirmed at its end: a worker then takes no more messages than it has threads, and leaves the
# others to others.
@shared_task(acks_late=True)
def generate(generation_id: str) -> None:
    """Write one generation; a second delivery of the same id finds nothing to claim."""
    from generator.worker.runtime import runtime

    try:
        key = UUID(generation_id)
    except ValueError:
        logger.warning("rejected a text that cannot be there: %r", generation_id[:80])
        return
    runtime().write(key)


_last_look = [-TICKS_APART]


@shared_task
def requeue() -> None:
    """Give back what silent workers held, send again what was lost, and make what has ended ready for searches.

    Ticks that piled up meanwhile count as one.
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
        logger.warning("gave back %d generations of silent workers", count)
    search.texts_fold()
    if count := housekeeping.send_again():
        logger.warning("sent %d waiting generations that no message was about", count)


@shared_task
def forget_ended() -> None:
    """Remove what has ended and is of use to nobody; there is no hurry."""
    housekeeping.forget_ended()


_following = threading.Lock()


@shared_task
def registry_sync() -> None:
    """Mirror the model registry, and follow its alias; when it is away, what is mirrored serves on."""
    from generator.versions.registry import IN_USE, follow, sync
    from ml.versions.registry import RegistryError

    if not IN_USE.acquire(blocking=False):
        return  # the last one has not ended; threads that wait for it would leave none for the rest
    try:
        target = sync()
    except RegistryError as error:
        logger.warning("%s", error)
        return
    finally:
        IN_USE.release()
    if target and _following.acquire(blocking=False):  # it may take a minute to fetch
        try:
            follow(target)
        except RegistryError as error:
            logger.warning("%s", error)
        finally:
            _following.release()


@shared_task
def promote(promotion_id: int) -> None:
    """Carry out a requested switch of the live version."""
    from generator.versions.registry import carry_out

    promotion = Promotion.objects.filter(pk=promotion_id).first()
    if promotion and ledger.promotion_is_open(promotion=promotion):
        carry_out(promotion)


def _consumes(application: Any, queue: str) -> bool:
    """Tell whether this Celery worker takes tasks from `queue`."""
    return queue in application.amqp.queues.consume_from


@worker_init.connect
def watch_for_stop(**_: object) -> None:
    """Before Celery listens to signals; until then they end the process."""
    stopping.watch(_drain, _say_goodbye)


def _drain() -> None:
    """Stop at the next character; the tasks save and give back what they hold."""
    if _consumes(current_app, services.GENERATE_QUEUE):
        from generator.worker.runtime import runtime

        runtime().drain()


def _say_goodbye() -> None:
    if _consumes(current_app, services.GENERATE_QUEUE):
        from generator.worker.runtime import runtime

        runtime().close()


@worker_ready.connect
def start_runtime(sender: Any, **_: object) -> None:
    """Start engines and heartbeats, or look at the registry for the first time. Celery takes tasks once this returns."""
    if _consumes(sender.app, services.GENERATE_QUEUE):
        from generator.worker.runtime import runtime

        ready = runtime().start()
        while not ready(
            LOOK
        ):  # here and not in one go: this thread is the one that hears of a stop
            maybe_shutdown()
        sender.hub.call_soon(runtime().consuming)
        sender.hub.call_repeatedly(1.0, runtime().consuming)
    elif _consumes(sender.app, HOUSEKEEPING_QUEUE):
        forget_ended.delay()  # a copy that is stopped every evening would never come to it
        registry_sync.delay()  # now, and not only at the first beat: importing mlflow takes seconds, a switch would wait for it


@worker_shutdown.connect
def close_runtime(sender: Any, **_: object) -> None:
    """The last thing a worker does."""
    if _consumes(sender.app, services.GENERATE_QUEUE):
        from generator.worker.runtime import runtime

        runtime().close()
        if runtime().loading:  # a library that is cut off on the way out aborts the process
            os._exit(sender.exitcode or os.EX_OK)
