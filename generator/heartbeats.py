"""Heartbeats: which processes are alive, what they hold, and whether they take tasks.

Ages are measured by the database's clock.
"""

from __future__ import annotations

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now

from generator import clock
from generator.models import Worker

Role = Worker.Role
FORGOTTEN = 3_600.0  # seconds without a heartbeat after which a row is removed


def heartbeat(
    *,
    worker_id: str,
    role: Role,
    host: str,
    pid: int,
    versions: list[str],
    active: int,
    consumes: bool,
) -> None:
    """Record that a process is alive, and whether it takes tasks from its queue."""
    seen = {
        "role": role,
        "host": host,
        "pid": pid,
        "versions_loaded": versions,
        "active_streams": active,
        "consumes": consumes,
        "last_seen": Now(),
    }
    if not Worker.objects.filter(pk=worker_id).update(**seen):
        Worker.objects.create(pk=worker_id, started_at=Now(), **seen)


def alive(role: Role) -> QuerySet[Worker]:
    """Return the rows of the processes of a role whose last heartbeat is recent."""
    return Worker.objects.filter(role=role, last_seen__gte=clock.ago(settings.WORKER_SILENT))


def forget_silent() -> None:
    """Remove the rows of processes that ended long ago without removing their own."""
    Worker.objects.filter(last_seen__lt=clock.ago(FORGOTTEN)).delete()


def gone(*, worker_id: str) -> None:
    """Remove the row of a process that is ending."""
    Worker.objects.filter(pk=worker_id).delete()
