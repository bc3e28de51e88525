"""Writes to model versions: the mirror of the registry, and the ledger of which version is live."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from celery import current_app
from django.contrib.auth.models import User
from django.db import DataError, IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone
from kombu.exceptions import OperationalError

from generator import clock
from generator.models import ModelVersion, Promotion

logger = logging.getLogger(__name__)
REGISTRY_PATIENCE = 1.5  # seconds that a page of the admin waits for the registry
REFUSALS_APART = timedelta(
    minutes=1
)  # between entries of the same person's attempts at the same version
PROMOTION_TIMEOUT = timedelta(seconds=60)  # a request older than this was lost and blocks no other
GONE = "it is not in the registry any more"
Outcome = Promotion.Outcome


class PromotionConflict(Exception):
    """Another switch is under way."""


def promotions_open() -> bool:
    """Tell whether a switch is under way. A request that was lost on the way is closed first, and blocks no other."""
    requested = Promotion.objects.filter(outcome=Outcome.REQUESTED)
    lost = requested.filter(created_at__lt=Now() - PROMOTION_TIMEOUT)
    lost.update(
        outcome=Outcome.REFUSED,
        evidence="Housekeeping did not answer in time.",
        finished_at=timezone.now(),
    )
    return requested.exists()


def registry_keeps_silent() -> bool:
    """Have housekeeping ask the registry now; tell whether no answer came in time. False when nobody could be asked."""
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
    """Make a row of every registry version; rows of versions that are gone stay, for generations refer to them.

    An entry that cannot be used has a `problem`. Its row keeps what it had, as the proof of the
    texts written with it.
    """
    rows = {(row.name, row.version): row for row in ModelVersion.objects.all()}
    for fields in registered:
        identity = {"name": fields["name"], "version": fields["version"]}
        row = rows.pop((fields["name"], fields["version"]), None)
        problem = _digest_problem(row, fields) or fields["problem"]
        _say(row, fields["version"], problem)
        changes = (
            {"problem": problem[:300]} if row and problem else {**fields, "problem": problem[:300]}
        )
        try:
            with transaction.atomic():
                ModelVersion.objects.update_or_create(
                    **identity, defaults={**changes, "synced_at": Now()}
                )
        except (
            DataError,
            IntegrityError,
            OverflowError,
            ValueError,
        ) as error:  # a number that no column holds, for example
            logger.warning("version %s of the registry is left out: %s", fields["version"], error)
    for row in rows.values():
        _say(row, row.version, GONE)
    ModelVersion.objects.filter(pk__in=[row.pk for row in rows.values()]).update(
        problem=GONE, synced_at=Now()
    )


def _digest_problem(row: ModelVersion | None, fields: dict[str, Any]) -> str:
    """A version is what its digest says; under the number of another it would change the proof of every text of that one."""
    if row is None or not row.digest or not fields["digest"] or row.digest == fields["digest"]:
        return ""
    return (
        f"its digest was changed in the registry, from {row.digest[:12]} to {fields['digest'][:12]}"
    )


def _say(row: ModelVersion | None, version: int, problem: str) -> None:
    """Log a problem once, and its end."""
    before = row.problem if row else ""
    if problem != before:
        logger.warning(
            "version %s of the registry %s",
            version,
            f"cannot be used: {problem}" if problem else "can be used again",
        )


def files_missing(*, version: ModelVersion, reason: str, retry_after: timedelta) -> None:
    """Remember that a version's files cannot be had, so that nobody asks for them again too soon. See ModelVersion."""
    changes = {"files_problem": reason[:300], "files_retry_at": Now() + retry_after}
    ModelVersion.objects.filter(pk=version.pk).update(**changes)


def files_found(*, version: ModelVersion) -> None:
    """Forget that a version's files could not be had."""
    remembered = ModelVersion.objects.filter(pk=version.pk).exclude(files_retry_at=None)
    remembered.update(files_problem="", files_retry_at=None)


def files_remembered(*, version: ModelVersion) -> str | None:
    """Return why a version's files cannot be had, perhaps "" for a reason that may pass; None when it is time to ask."""
    still = ModelVersion.objects.filter(pk=version.pk, files_retry_at__gt=Now())
    return still.values_list("files_problem", flat=True).first()


def version_switch(*, version: ModelVersion) -> None:
    """Make `version` the live one. Everything accepted after the commit uses it; what runs keeps its own."""
    with transaction.atomic():
        ModelVersion.lock_all()  # so that no submit falls between the two updates
        ModelVersion.objects.filter(is_live=True).update(is_live=False)
        ModelVersion.objects.filter(pk=version.pk).update(is_live=True)


def promotion_request(*, version: ModelVersion, user: User, reason: str = "") -> Promotion:
    """Write a requested switch to the ledger and send it to housekeeping. Raises PromotionConflict.

    Who asks for the same once more, by a second click, gets the switch that is under way.
    """
    with transaction.atomic():
        live = next((row for row in ModelVersion.lock_all() if row.is_live), None)
        if promotions_open():
            under_way = Promotion.objects.filter(
                outcome=Outcome.REQUESTED, requested_by=user, to_version=version
            )
            if same := under_way.first():
                return same
            raise PromotionConflict(
                "Another switch is under way. Look at its outcome in the ledger first."
            )
        promotion = Promotion.objects.create(
            requested_by=user, from_version=live, to_version=version, reason=reason
        )
    try:
        current_app.send_task("generator.tasks.promote", args=[promotion.pk])
    except OperationalError:
        promotion_refuse(promotion=promotion, evidence="The broker could not be reached.")
    return promotion


def promotion_refused(*, version: ModelVersion, user: User | None, evidence: str) -> None:
    """Write an attempt that was not allowed to the ledger; once a minute, or anybody could fill it."""
    attempt = {
        "requested_by": user,
        "to_version": version,
        "outcome": Outcome.REFUSED,
        "evidence": evidence,
    }
    if not Promotion.objects.filter(**attempt, created_at__gte=Now() - REFUSALS_APART).exists():
        Promotion.objects.create(**attempt, finished_at=timezone.now())


def promotion_is_open(*, promotion: Promotion) -> bool:
    """Tell whether a switch still waits to be carried out. One that was lost for too long is closed first."""
    promotions_open()
    return Promotion.objects.filter(pk=promotion.pk, outcome=Outcome.REQUESTED).exists()


def promotion_refuse(*, promotion: Promotion, evidence: str) -> None:
    """Close a requested switch that failed a check; the live version stays."""
    _close(promotion, Outcome.REFUSED, evidence)


def promotion_accept(*, promotion: Promotion, evidence: str) -> None:
    """Carry out a requested switch and close it, in one transaction."""
    with transaction.atomic():
        version_switch(version=promotion.to_version)
        _close(promotion, Outcome.DONE, evidence)


def _close(promotion: Promotion, outcome: Promotion.Outcome, evidence: str) -> None:
    open_row = Promotion.objects.filter(pk=promotion.pk, outcome=Outcome.REQUESTED)
    open_row.update(outcome=outcome, evidence=evidence, finished_at=timezone.now())


def alias_followed(*, version: ModelVersion, reason: str) -> None:
    """Switch to the version that the champion alias was moved to outside of the admin, and say so in the ledger."""
    with transaction.atomic():
        live = ModelVersion.objects.filter(is_live=True).first()
        version_switch(version=version)
        Promotion.objects.create(
            from_version=live,
            to_version=version,
            reason=reason,
            outcome=Outcome.DONE,
            finished_at=timezone.now(),
        )


def alias_refused(*, version: ModelVersion, reason: str, evidence: str) -> None:
    """Note once that the alias points to a version that may not serve."""
    seen = Promotion.objects.filter(
        to_version=version, outcome=Outcome.REFUSED, requested_by=None, evidence=evidence
    )
    if not seen.exists():
        Promotion.objects.create(
            to_version=version,
            reason=reason,
            outcome=Outcome.REFUSED,
            evidence=evidence,
            finished_at=timezone.now(),
        )
