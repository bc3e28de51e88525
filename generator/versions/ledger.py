"""The ledger of which model version is live: switches that were asked for, done or refused."""

from __future__ import annotations

from datetime import timedelta

from celery import current_app
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from kombu.exceptions import OperationalError

from generator.models import ModelVersion, Promotion

REFUSALS_APART = timedelta(minutes=1)  # of one user and version; others are not recorded
PROMOTION_TIMEOUT = timedelta(seconds=60)  # an older request was lost, and is closed
Outcome = Promotion.Outcome


class PromotionConflict(Exception):
    """Another switch is under way."""


def promotions_open() -> bool:
    """Tell whether a switch is under way. Closes lost requests first: they block no other."""
    requested = Promotion.objects.filter(outcome=Outcome.REQUESTED)
    lost = requested.filter(created_at__lt=Now() - PROMOTION_TIMEOUT)
    lost.update(
        outcome=Outcome.REFUSED,
        evidence="Housekeeping did not answer in time.",
        finished_at=timezone.now(),
    )
    return requested.exists()


def version_switch(*, version: ModelVersion) -> None:
    """Make `version` the live one, for texts accepted from now on. Earlier texts keep their own."""
    with transaction.atomic():
        ModelVersion.lock_all()  # so that no submit falls between the two updates
        ModelVersion.objects.filter(is_live=True).update(is_live=False)
        ModelVersion.objects.filter(pk=version.pk).update(is_live=True)


def promotion_request(*, version: ModelVersion, user: User, reason: str = "") -> Promotion:
    """Enter a requested switch in the ledger and send it to housekeeping.

    A second click returns the switch that is under way. Raises PromotionConflict during any other.
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


def promotion_denied(*, version: ModelVersion, user: User | None, evidence: str) -> None:
    """Enter an attempt that was not allowed, at most once a minute, so that nobody can fill it."""
    attempt = {
        "requested_by": user,
        "to_version": version,
        "outcome": Outcome.REFUSED,
        "evidence": evidence,
    }
    if not Promotion.objects.filter(**attempt, created_at__gte=Now() - REFUSALS_APART).exists():
        Promotion.objects.create(**attempt, finished_at=timezone.now())


def promotion_is_open(*, promotion: Promotion) -> bool:
    """Tell whether a switch still waits to be carried out. Closes lost requests first."""
    promotions_open()
    return Promotion.objects.filter(pk=promotion.pk, outcome=Outcome.REQUESTED).exists()


def promotion_refuse(*, promotion: Promotion, evidence: str) -> None:
    """Close a requested switch that failed a check. The live version stays."""
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
    """Switch to the version of the champion alias, which was moved in the registry; enter that."""
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
    """Enter once that the champion alias points to a version that failed a check."""
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
