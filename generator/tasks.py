"""Celery tasks: thin, idempotent, with ids as arguments. `generate` runs in workers, the rest in housekeeping."""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import Any
from uuid import UUID

from celery import shared_task
from celery.signals import worker_ready, worker_shutdown, worker_shutting_down

from generator import services, versions
from generator.models import Promotion

logger = logging.getLogger(__name__)
HOUSEKEEPING_QUEUE = "housekeeping"


@shared_task
def generate(generation_id: str) -> None:
    """Write one generation; a second delivery of the same id finds nothing to claim."""
    from generator.worker.runtime import runtime

    try:
        key = UUID(generation_id)
    except ValueError:
        logger.warning("rejected a text that cannot be there: %r", generation_id[:80])
        return
    runtime().write(key)


@shared_task
def requeue() -> None:
    """Give back what silent workers held, and send again what waits too long."""
    services.worker_heartbeat(
        worker_id=f"housekeeping-{socket.gethostname()}", host=socket.gethostname(), pid=os.getpid(), versions=[], active=0
    )
    services.workers_forget_silent()
    if count := services.generations_requeue_lost():
        logger.warning("gave back %d generations of silent workers", count)
    if count := services.generations_send_again():
        logger.warning("sent %d generations again whose messages were lost", count)


_following = threading.Lock()


@shared_task
def registry_sync() -> None:
    """Mirror the model registry, and follow its alias; when it is away, what is mirrored serves on."""
    from generator.worker.registry import IN_USE, follow, sync
    from ml.registry import RegistryError

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
    from generator.worker.registry import carry_out

    promotion = Promotion.objects.filter(pk=promotion_id).first()
    if promotion and versions.promotion_is_open(promotion=promotion):
        carry_out(promotion)


def _consumes(application: Any, queue: str) -> bool:
    """Tell whether this Celery worker takes tasks from `queue`."""
    return queue in application.amqp.queues.consume_from


@worker_ready.connect
def start_runtime(sender: Any, **_: object) -> None:
    """Start engines and heartbeats, or look at the registry for the first time, once Celery consumes."""
    if _consumes(sender.app, services.GENERATE_QUEUE):
        from generator.worker.runtime import runtime

        runtime()
    elif _consumes(sender.app, HOUSEKEEPING_QUEUE):
        registry_sync.delay()  # now, and not only at the first beat: importing mlflow takes seconds, a switch would wait for it


@worker_shutting_down.connect
def drain_runtime(**_: object) -> None:
    """SIGTERM: stop at the next character; the tasks save and give back what they hold."""
    from celery import current_app

    if _consumes(current_app, services.GENERATE_QUEUE):
        from generator.worker.runtime import runtime

        runtime().drain()


@worker_shutdown.connect
def close_runtime(sender: Any, **_: object) -> None:
    """The last thing a worker does."""
    if _consumes(sender.app, services.GENERATE_QUEUE):
        from generator.worker.runtime import runtime

        runtime().close()
