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

# Between entries about attempts of one person at one version.
REFUSALS_APART = timedelta(minutes=1)
PROMOTION_TIMEOUT = timedelta(seconds=60)  # an older request was lost and blocks no other
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
