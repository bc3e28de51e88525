"""The staff's view: which model versions there are, which one is live, what was switched when, and what was written."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, NoReturn, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, path
from django.utils.html import format_html

from generator import health, versions
from generator.models import Generation, ModelVersion, Promotion, Worker
from generator.sign_in import StaffSignInForm

WAIT_FOR_PROMOTION = 10.0  # seconds an admin request waits for housekeeping to answer
PERMISSION = "generator.promote_modelversion"

admin.site.login_form = StaffSignInForm


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

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """List the versions; when the registry is away, say since when, for then the list may lack some."""
        if request.method == "GET":
            registry = health.registry()
            if registry.ok and versions.registry_keeps_silent():
                registry = health.registry(timedelta(0))
            if not registry.ok:
                texts = "Texts are written as before."
                said = f"The model registry is unavailable: it {registry.found}. {registry.advice} {texts}"
                self.message_user(request, said, messages.WARNING)
        return super().changelist_view(request, extra_context)

    def get_urls(self) -> list[URLPattern]:
        """Return the admin's addresses, the list behind its guard."""
        return [path("", self.guarded_list), *super().get_urls()]

    def guarded_list(self, request: HttpRequest) -> HttpResponse:
        """The list of versions. Who may not switch and tries is refused here, for the admin keeps no record of it."""
        if "make_live" in request.GET.getlist("action"):
            return HttpResponseNotAllowed(["POST"])
        if "make_live" in request.POST.getlist("action") and not self.has_promote_permission(request):
            self._refuse(request)
        answer: HttpResponse = self.admin_site.admin_view(self.changelist_view)(request)
        return answer

    def _refuse(self, request: HttpRequest) -> NoReturn:
        named = [value for value in request.POST.getlist("_selected_action") if value.isascii() and value.isdecimal()]
        user = request.user if isinstance(request.user, User) else None
        evidence = "The user lacks the permission." if user else "Somebody who is not signed in asked for it."
        for version in ModelVersion.objects.filter(pk__in=[value for value in named if len(value) < 10]):
            versions.promotion_refused(version=version, user=user, evidence=evidence)
        raise PermissionDenied("You may not switch the live model.")

    def has_promote_permission(self, request: HttpRequest) -> bool:
        """Tell who is shown the action, and may use it."""
        return self.admin_site.has_permission(request) and request.user.has_perm(PERMISSION)

    @admin.action(description="Make the selected version live", permissions=("promote",))
    def make_live(self, request: HttpRequest, selected: QuerySet[ModelVersion]) -> None:
        """Ask housekeeping to check the version, move the champion alias and switch; say how it went."""
        if selected.count() != 1:
            self.message_user(request, "Select exactly one version to make live.", messages.WARNING)
            return
        version = selected.get()
        user = cast("User", request.user)  # the admin lets nobody else in
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
