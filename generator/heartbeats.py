"""Heartbeats: which processes are alive, what they hold, and whether they take texts. The database's clock decides."""

from __future__ import annotations

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now

from generator import clock
from generator.models import Worker

FORGOTTEN = 3_600.0  # seconds without a heartbeat after which a row is of no use to anybody


def heartbeat(
    *, worker_id: str, host: str, pid: int, versions: list[str], active: int, consumes: bool
) -> None:
    """Say that a process is alive, and whether it takes tasks from its queue."""
    seen = {"versions_loaded": versions, "active_streams": active, "consumes": consumes}
    if not Worker.objects.filter(pk=worker_id).update(last_seen=Now(), host=host, pid=pid, **seen):
        Worker.objects.create(
            pk=worker_id, host=host, pid=pid, started_at=Now(), last_seen=Now(), **seen
        )


def alive() -> QuerySet[Worker]:
    """Return the rows of processes that gave a sign of life just now."""
    return Worker.objects.filter(last_seen__gte=clock.ago(settings.WORKER_SILENT))


def forget_silent() -> None:
    """Remove the rows of processes that ended long ago without a word."""
    Worker.objects.filter(last_seen__lt=clock.ago(FORGOTTEN)).delete()


def gone(*, worker_id: str) -> None:
    """Remove the row of a process that ends in an orderly way."""
    Worker.objects.filter(pk=worker_id).delete()
