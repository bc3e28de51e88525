"""Rows. They are the truth; Redis only carries what is on its way to a browser."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import get_script_prefix, reverse
from django.utils import timezone

from generator.fields import SeedField


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns a generation: a signed-in user, or a visitor with a random id in a cookie."""

    user_id: int | None = None
    visitor: str = ""

    @property
    def fields(self) -> dict[str, Any]:
        """The columns of Generation that name this owner."""
        return {"user_id": self.user_id, "visitor": "" if self.user_id else self.visitor}


class ModelVersion(models.Model):
    """A mirror of one registry version, for lists and foreign keys, also while MLflow is away."""

    name = models.CharField(max_length=100)
    version = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)
    title = models.CharField(max_length=200, blank=True)
    run_id = models.CharField(max_length=64, blank=True)
    vocabulary_size = models.PositiveIntegerField()
    parameters = models.JSONField(default=dict)
    metrics = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    synced_at = models.DateTimeField()
    is_live = models.BooleanField(default=False)
    # Why the registry's entry cannot be used; its other values stay.
    problem = models.CharField(max_length=300, blank=True)
    # Why its files cannot be had, and when they may be asked for again. Empty: the next try may
    # find them.
    files_problem = models.CharField(max_length=300, blank=True)
    files_retry_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-version",)
        permissions = (("promote_modelversion", "Can make a model version live"),)
        constraints = (
            models.UniqueConstraint(
                fields=("name", "version"), name="one_row_per_registry_version"
            ),
            models.UniqueConstraint(
                fields=("is_live",), condition=Q(is_live=True), name="one_live_version"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"

    @classmethod
    def lock_all(cls) -> list[ModelVersion]:
        """Lock every version until the transaction ends, and return them.

        Submits and switches share this lock. A lock on just the live row would find no row on
        PostgreSQL if a switch commits while it waits.
        """
        return list(cls.objects.select_for_update(no_key=True).order_by("pk"))

    @property
    def validation_loss(self) -> float | None:
        """Nats per character on held-out text, measured when the version was made."""
        loss: float | None = self.metrics.get("validation_nats_per_char")
        return loss


class Promotion(models.Model):
    """A switch of the live version. Rows stay: a registry alias knows neither who nor when."""

    class Outcome(models.TextChoices):
        """requested → done | refused."""

        REQUESTED = "requested"
        DONE = "done"
        REFUSED = "refused"

    # The database's time, because housekeeping compares it, perhaps on another machine.
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    from_version = models.ForeignKey(
        ModelVersion, null=True, on_delete=models.PROTECT, related_name="+"
    )
    to_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="promotions"
    )
    reason = models.CharField(max_length=300, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, default=Outcome.REQUESTED)
    evidence = models.TextField(blank=True)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.to_version} ({self.outcome})"


class Worker(models.Model):
    """The heartbeat of one worker process, in place of a lease for each generation."""

    class Role(models.TextChoices):
        """Which of Celery's queues the process takes tasks from."""

        WORKER = "worker"
        HOUSEKEEPING = "housekeeping"

    id = models.CharField(primary_key=True, max_length=100)
    role = models.CharField(max_length=20, choices=Role.choices)
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    last_seen = models.DateTimeField()
    versions_loaded = models.JSONField(default=list)
    active_streams = models.PositiveIntegerField(default=0)
    consumes = models.BooleanField(default=False)  # takes tasks: is neither starting nor stopping

    class Meta:
        ordering = ("-last_seen",)

    def __str__(self) -> str:
        return self.id


class Submit(models.Model):
    """One accepted submit, kept for the minute in which it counts.

    A row of its own, so that deleting the text does not allow another submit.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+"
    )
    visitor = models.CharField(max_length=32, blank=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return str(self.created_at)


class GenerationQuerySet(models.QuerySet["Generation"]):
    """Every read and every change on behalf of a person goes through `owned_by`."""

    def owned_by(self, owner: Owner | None) -> GenerationQuerySet:
        """Return the owner's rows, without `folded`: it is long, and only the database uses it."""
        if owner is None or not (owner.user_id or owner.visitor):
            return self.none()
        return self.filter(**owner.fields).defer("folded")

    def owned_by_each(
        self, asked: Collection[tuple[Owner, uuid.UUID]]
    ) -> dict[tuple[Owner, uuid.UUID], Generation]:
        """Return by owner and id what `owned_by` finds for each, in one query for all."""
        rows = self.defer("folded").in_bulk({generation_id for _, generation_id in asked})
        return {
            (owner, key): row
            for owner, key in asked
            if (row := rows.get(key)) and row.owner == owner
        }

    def held_by(self, generation_id: uuid.UUID, attempt: int) -> GenerationQuerySet:
        """Return the row while this attempt is its only writer; a stale attempt finds nothing."""
        return self.filter(pk=generation_id, attempt=attempt, state=Generation.State.RUNNING)


class Generation(models.Model):
    """A prompt, how to continue it, and what the model wrote.

    The text is a pure function of model digest, prompt and sampling parameters, so a run that was
    interrupted continues from `text` with the characters it would have written anyway.
    """

    class State(models.TextChoices):
        """queued → running → done | cancelled | failed; running → queued when its worker is lost.

        Only conditional UPDATEs change it, so that one of two competing changes finds no row. The
        labels are the words on every page.
        """

        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Writing"
        DONE = "done", "Done"
        CANCELLED = "cancelled", "Stopped"
        FAILED = "failed", "Failed"

    UNDER_WAY = (State.QUEUED, State.RUNNING)
    ENDED = (State.DONE, State.CANCELLED, State.FAILED)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE
    )
    visitor = models.CharField(max_length=32, blank=True)
    client_key = models.CharField(max_length=64, blank=True)
    client_digest = models.CharField(max_length=64, blank=True, editable=False)  # Parameters.digest

    prompt = models.TextField(blank=True)
    length = models.PositiveIntegerField()
    temperature = models.FloatField()
    top_k = models.PositiveIntegerField(null=True, blank=True)
    top_p = models.FloatField(null=True, blank=True)
    stop = models.JSONField(default=list, blank=True)
    seed = SeedField()
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="generations"
    )
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="children"
    )
    # Characters of the parent's manuscript that this continues; NULL: it repeats the parent.
    fork_offset = models.PositiveIntegerField(null=True, blank=True)

    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    finish_reason = models.CharField(max_length=20, blank=True)
    text = models.TextField(blank=True)
    unknown_characters = models.CharField(max_length=2_000, blank=True)
    error = models.CharField(max_length=500, blank=True)
    note = models.CharField(max_length=200, blank=True)  # tells people why no character comes yet
    folded = models.TextField(null=True, editable=False)  # what search.py searches
    attempt = models.PositiveIntegerField(default=0)  # how often a worker has claimed it
    failures = models.PositiveIntegerField(default=0)  # attempts in which the model failed
    worker_id = models.CharField(max_length=100, blank=True)
    cancel_requested = models.BooleanField(default=False)

    created_at = models.DateTimeField(auto_now_add=True)
    dispatched_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    first_character_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = GenerationQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=Q(user__isnull=False, visitor="")
                | (Q(user__isnull=True) & ~Q(visitor="")),
                name="one_owner",
            ),
            models.UniqueConstraint(
                fields=("user", "client_key"),
                condition=~Q(client_key="") & Q(user__isnull=False),
                name="one_submit_user",
            ),
            models.UniqueConstraint(
                fields=("visitor", "client_key"),
                condition=~Q(client_key="") & ~Q(visitor=""),
                name="one_submit_visitor",
            ),
        )
        indexes = (
            # A history in the order in which it is read. Both columns of the owner are in it, so
            # that counting reads no row.
            models.Index(
                fields=("user", "visitor", "-created_at", "-id"), name="generation_history"
            ),
            models.Index(fields=("state", "dispatched_at")),
            models.Index(
                fields=("user", "visitor"), condition=Q(folded=None), name="generation_unfolded"
            ),
        )

    def __str__(self) -> str:
        return str(self.pk)

    def get_absolute_url(self) -> str:
        return reverse("generation-detail", args=[self.pk])

    @property
    def socket_path(self) -> str:
        """The path of the socket that follows the text, as in charrnn_site/urls.py."""
        return f"{get_script_prefix()}ws/generations/{self.pk}/"

    @property
    def owner(self) -> Owner:
        return Owner(self.user_id, self.visitor)

    @property
    def manuscript(self) -> str:
        """The whole text so far: what the model was given, and what it wrote."""
        return self.prompt + self.text

    @property
    def has_ended(self) -> bool:
        return self.state in self.ENDED

    @property
    def sha256(self) -> str:
        """The hash of the text's UTF-8 bytes; equal hashes of two runs prove a replay."""
        return hashlib.sha256(self.text.encode()).hexdigest()
