"""The staff's view: which model versions there are, which one is live, what was switched when, and what was written."""

from __future__ import annotations

import time
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from generator import versions
from generator.models import Generation, ModelVersion, Promotion, Worker

WAIT_FOR_PROMOTION = 10.0  # seconds an admin request waits for housekeeping to answer
PERMISSION = "generator.promote_modelversion"


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that only the application writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    """The registry's versions, with the action that makes one live."""

    list_display = ("version", "live", "title", "validation_loss_shown", "characters_seen", "short_digest", "created_at")
    list_filter = ("is_live",)
    ordering = ("-version",)
    actions = ("make_live",)

    @admin.display(description="live", boolean=True, ordering="is_live")
    def live(self, version: ModelVersion) -> bool:
        return version.is_live

    @admin.display(description="nats/char")
    def validation_loss_shown(self, version: ModelVersion) -> str:
        return "–" if version.validation_loss is None else f"{version.validation_loss:.4f}"

    @admin.display(description="characters seen")
    def characters_seen(self, version: ModelVersion) -> str:
        return f"{int(version.metrics.get('chars', 0)):,}"

    @admin.display(description="digest")
    def short_digest(self, version: ModelVersion) -> str:
        return format_html("<code>{}</code>", version.digest[:12])

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Show the action to those who may use it. Posting it without the permission still reaches the check and ledger."""
        actions = super().get_actions(request)
        if request.method == "GET" and not _may_promote(request):
            actions.pop("make_live", None)
        return actions

    @admin.action(description="Make the selected version live")
    def make_live(self, request: HttpRequest, selected: QuerySet[ModelVersion]) -> None:
        """Ask housekeeping to check the version, move the champion alias and switch; say how it went."""
        if selected.count() != 1:
            self.message_user(request, "Select exactly one version to make live.", messages.WARNING)
            return
        version = selected.get()
        user = cast("User", request.user)  # the admin lets nobody else in
        if not _may_promote(request):
            versions.promotion_refused(version=version, user=user, evidence="The user lacks the permission.")
            raise PermissionDenied("You may not switch the live model.")
        if version.is_live:
            self.message_user(request, f"Version {version.version} is live already.", messages.INFO)
            return
        try:
            promotion = versions.promotion_request(version=version, user=user)
        except versions.PromotionConflict as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        self._say_outcome(request, _outcome(promotion))

    def _say_outcome(self, request: HttpRequest, promotion: Promotion) -> None:
        version = f"Version {promotion.to_version.version}"
        if promotion.outcome == Promotion.Outcome.DONE:
            self.message_user(request, f"{version} is live. Texts under way end on their own version.", messages.SUCCESS)
        elif promotion.outcome == Promotion.Outcome.REFUSED:
            self.message_user(request, f"{version} was not made live: {promotion.evidence}", messages.ERROR)
        else:
            self.message_user(request, f"{version} is being checked; the ledger will say how it went.", messages.WARNING)


def _may_promote(request: HttpRequest) -> bool:
    return bool(request.user.has_perm(PERMISSION))


def _outcome(promotion: Promotion) -> Promotion:
    """Return the promotion once it is closed, or as it is when housekeeping takes longer."""
    give_up = time.monotonic() + WAIT_FOR_PROMOTION
    while promotion.outcome == Promotion.Outcome.REQUESTED and time.monotonic() < give_up:
        time.sleep(0.1)
        promotion.refresh_from_db()
    return promotion


@admin.register(Promotion)
class PromotionAdmin(ReadOnlyAdmin):
    """The ledger."""

    list_display = ("created_at", "to_version", "from_version", "outcome", "requested_by", "why")
    list_filter = ("outcome",)

    @admin.display(description="reason or evidence")
    def why(self, promotion: Promotion) -> str:
        return " ".join(filter(None, (promotion.reason, promotion.evidence)))


@admin.register(Generation)
class GenerationAdmin(ReadOnlyAdmin):
    """What was asked for and written."""

    list_display = ("created_at", "state", "model_version", "owner_shown", "prompt_start", "length", "attempt", "worker_id")
    list_filter = ("state", "model_version")
    search_fields = ("prompt", "text")
    date_hierarchy = "created_at"
    list_select_related = ("model_version", "user")
    show_full_result_count = False

    @admin.display(description="owner")
    def owner_shown(self, generation: Generation) -> str:
        return str(generation.user) if generation.user else f"visitor {generation.visitor[:8]}"

    @admin.display(description="prompt")
    def prompt_start(self, generation: Generation) -> str:
        return generation.prompt[:60]


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Which workers are alive, and what they hold."""

    list_display = ("id", "last_seen", "active_streams", "host", "pid", "started_at")
