"""The list of model versions, and the action "Make the selected version live"."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, NoReturn, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from generator.admin.base import ReadOnlyAdmin, foreign
from generator.models import ModelVersion, Promotion
from generator.operations import health
from generator.text import small_number
from generator.versions import ledger, mirror

WAIT_FOR_PROMOTION = 10.0  # seconds an admin request waits for housekeeping to answer
PERMISSION = "generator.promote_modelversion"
SWITCHES_SHOWN = 100  # of one version, the latest first; the ledger's own page has all


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    """The rows that mirror the registry's versions."""

    list_display = (
        "version",
        "live",
        "title_shown",
        "validation_loss_shown",
        "characters_seen",
        "short_digest",
        "entry",
        "created_at",
    )
    exclude = ("is_live",)
    readonly_fields = ("live",)
    ordering = ("-version",)
    actions = ("make_live",)
    change_form_template = "admin/change_form.html"  # with the link to history_view

    @admin.display(description="live", ordering="is_live")
    def live(self, version: ModelVersion) -> str:
        return "live" if version.is_live else "–"

    @admin.display(description="title", ordering="title")
    def title_shown(self, version: ModelVersion) -> SafeString:
        return foreign(version.title)

    @admin.display(description="nats/char")
    def validation_loss_shown(self, version: ModelVersion) -> str:
        return "–" if version.validation_loss is None else f"{version.validation_loss:.4f}"

    @admin.display(description="characters seen")
    def characters_seen(self, version: ModelVersion) -> str:
        return f"{int(version.metrics.get('chars', 0)):,}"

    @admin.display(description="digest")
    def short_digest(self, version: ModelVersion) -> str:
        return format_html("<code>{}</code>", version.digest[:12])

    @admin.display(description="registry entry")
    def entry(self, version: ModelVersion) -> str:
        if version.problem:
            return f"unreadable: {version.problem}"
        return f"no files: {version.files_problem}" if version.files_problem else "readable"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """List the versions. If the registry is away, say since when: the list may lack some."""
        if request.method == "GET":
            registry = health.registry()
            if registry.ok and mirror.registry_keeps_silent():
                registry = health.registry(timedelta(0))
            if not registry.ok:
                said = f"The model registry is unavailable: it {registry.found}. {registry.advice}"
                texts = "Texts are written as before."
                self.message_user(request, f"{said} {texts}", messages.WARNING)
        return super().changelist_view(request, extra_context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a version's entries in the ledger: switches to it, and switches away from it."""
        pk = small_number(object_id)
        away = Q(from_version=pk, outcome=Promotion.Outcome.DONE)
        switches = Promotion.objects.none()
        if pk is not None:
            switches = Promotion.objects.filter(Q(to_version=pk) | away)
            switches = switches.select_related("to_version", "from_version", "requested_by")
        title = "What happened to this version"
        context = {"title": title, "switches": switches[:SWITCHES_SHOWN], **(extra_context or {})}
        answer: HttpResponse = super().history_view(request, object_id, context)
        return answer

    def get_urls(self) -> list[URLPattern]:
        """Return the admin's addresses, with `guarded_list` before the list."""
        return [path("", self.guarded_list), *super().get_urls()]

    def guarded_list(self, request: HttpRequest) -> HttpResponse:
        """The list of versions. Attempts to switch without permission are refused and recorded.

        The admin would refuse them, too, but without a record.
        """
        if "make_live" in request.GET.getlist("action"):
            return HttpResponseNotAllowed(["POST"])
        asked = "make_live" in request.POST.getlist("action")
        if asked and not self.has_promote_permission(request):
            self._refuse(request)
        answer: HttpResponse = self.admin_site.admin_view(self.changelist_view)(request)
        return answer

    def _refuse(self, request: HttpRequest) -> NoReturn:
        """Enter the attempt in the ledger and answer 403."""
        chosen = [small_number(value) for value in request.POST.getlist("_selected_action")]
        user = request.user if isinstance(request.user, User) else None
        evidence = "The user lacks the permission."
        if user is None:
            evidence = "Somebody who is not signed in asked for it."
        for version in ModelVersion.objects.filter(pk__in=[pk for pk in chosen if pk is not None]):
            ledger.promotion_denied(version=version, user=user, evidence=evidence)
        raise PermissionDenied("You may not switch the live model.")

    def has_promote_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user sees the action, and may use it."""
        return self.admin_site.has_permission(request) and request.user.has_perm(PERMISSION)

    @admin.action(description="Make the selected version live", permissions=("promote",))
    def make_live(self, request: HttpRequest, selected: QuerySet[ModelVersion]) -> None:
        """Have housekeeping check the version and switch to it, and say how that went."""
        if selected.count() != 1:
            self.message_user(request, "Select exactly one version to make live.", messages.WARNING)
            return
        version = selected.get()
        user = cast("User", request.user)  # the admin lets nobody else in
        if version.is_live:
            self.message_user(request, f"Version {version.version} is live already.", messages.INFO)
            return
        try:
            promotion = ledger.promotion_request(version=version, user=user)
        except ledger.PromotionConflict as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        self._say_outcome(request, _outcome(promotion))

    def _say_outcome(self, request: HttpRequest, promotion: Promotion) -> None:
        version = f"Version {promotion.to_version.version}"
        if promotion.outcome == Promotion.Outcome.DONE:
            said = f"{version} is live. Texts that had begun end on their own version."
            self.message_user(request, said, messages.SUCCESS)
        elif promotion.outcome == Promotion.Outcome.REFUSED:
            why = format_html("{} was not made live: {}", version, foreign(promotion.evidence))
            self.message_user(request, why, messages.ERROR)
        else:
            said = f"{version} is being checked. Look at the ledger for the outcome."
            self.message_user(request, said, messages.WARNING)


def _outcome(promotion: Promotion) -> Promotion:
    """Wait until the promotion is closed, but not for ever, and return it."""
    give_up = time.monotonic() + WAIT_FOR_PROMOTION
    while promotion.outcome == Promotion.Outcome.REQUESTED and time.monotonic() < give_up:
        time.sleep(0.1)
        promotion.refresh_from_db()
    return promotion
