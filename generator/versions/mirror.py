"""Rows that mirror the registry's entries, and remember which files could not be fetched."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from celery import current_app
from django.db import DataError, IntegrityError, transaction
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from generator import clock
from generator.models import ModelVersion

logger = logging.getLogger(__name__)
REGISTRY_PATIENCE = 1.5  # seconds that a page of the admin waits for the registry
GONE = "it is not in the registry any more"


def registry_keeps_silent() -> bool:
    """Have housekeeping ask the registry now, and tell whether no answer came in time.

    False if the broker is away, because then nothing was asked.
    """
    asked, give_up = clock.now(), time.monotonic() + REGISTRY_PATIENCE
    try:
        current_app.send_task("generator.tasks.registry_sync")
    except OperationalError:
        return False
    while not ModelVersion.objects.filter(synced_at__gte=asked).exists():
        if time.monotonic() >= give_up:
            return True
        time.sleep(0.1)
    return False


def versions_mirror(registered: Iterable[dict[str, Any]]) -> None:
    """Make a row of every registry entry. Rows of removed entries stay: texts refer to them.

    An entry that cannot be used has a `problem`. Its row keeps its other values, which prove the
    texts written with it.
    """
    rows = {(row.name, row.version): row for row in ModelVersion.objects.all()}
    for fields in registered:
        identity = {"name": fields["name"], "version": fields["version"]}
        row = rows.pop((fields["name"], fields["version"]), None)
        problem = _digest_problem(row, fields) or fields["problem"]
        _say(row, fields["version"], problem)
        changes = {"problem": problem[:300], "synced_at": Now()}
        if not (row and problem):
            changes = {**fields, **changes}
        try:
            with transaction.atomic():
                ModelVersion.objects.update_or_create(**identity, defaults=changes)
        except (DataError, IntegrityError, OverflowError, ValueError) as error:
            # For example a number that no column holds.
            logger.warning("version %s of the registry is left out: %s", fields["version"], error)
    for row in rows.values():
        _say(row, row.version, GONE)
    gone = ModelVersion.objects.filter(pk__in=[row.pk for row in rows.values()])
    gone.update(problem=GONE, synced_at=Now())


def _digest_problem(row: ModelVersion | None, fields: dict[str, Any]) -> str:
    """Return a problem if the digest of a version has changed: that digest proves its texts."""
    if row is None or not row.digest or not fields["digest"] or row.digest == fields["digest"]:
        return ""
    before, now = row.digest[:12], fields["digest"][:12]
    return f"its digest was changed in the registry, from {before} to {now}"


def _say(row: ModelVersion | None, version: int, problem: str) -> None:
    """Log the beginning and the end of a problem."""
    if problem != (row.problem if row else ""):
        said = f"cannot be used: {problem}" if problem else "can be used again"
        logger.warning("version %s of the registry %s", version, said)


def files_missing(*, version: ModelVersion, reason: str, retry_after: timedelta) -> None:
    """Remember that a version's files could not be fetched, and when to try again."""
    changes = {"files_problem": reason[:300], "files_retry_at": Now() + retry_after}
    ModelVersion.objects.filter(pk=version.pk).update(**changes)


def files_found(*, version: ModelVersion) -> None:
    """Forget that a version's files could not be fetched."""
    remembered = ModelVersion.objects.filter(pk=version.pk).exclude(files_retry_at=None)
    remembered.update(files_problem="", files_retry_at=None)


def files_remembered(*, version: ModelVersion) -> str | None:
    """Return why a version's files could not be fetched, or "" if that may pass. None: try now."""
    still = ModelVersion.objects.filter(pk=version.pk, files_retry_at__gt=Now())
    return still.values_list("files_problem", flat=True).first()
