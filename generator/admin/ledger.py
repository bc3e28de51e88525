"""The ledger: who had which version made live, when, and how it went."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from generator.admin.base import ReadOnlyAdmin, foreign
from generator.models import Promotion


@admin.register(Promotion)
class PromotionAdmin(ReadOnlyAdmin):
    """Every switch that was asked for."""

    list_display = ("created_at", "to_shown", "from_shown", "outcome", "who", "why")
    list_filter = ("outcome",)
    list_select_related = ("to_version", "from_version", "requested_by")

    @admin.display(description="to", ordering="to_version__version")
    def to_shown(self, promotion: Promotion) -> int:
        return promotion.to_version.version

    @admin.display(description="from", ordering="from_version__version")
    def from_shown(self, promotion: Promotion) -> int | None:
        return promotion.from_version.version if promotion.from_version else None

    @admin.display(description="who", ordering="requested_by")
    def who(self, promotion: Promotion) -> SafeString | None:
        return foreign(promotion.requested_by.get_username()) if promotion.requested_by else None

    @admin.display(description="reason or evidence")
    def why(self, promotion: Promotion) -> SafeString:
        texts = ((text,) for text in (promotion.reason, promotion.evidence) if text)
        return format_html_join(" ", "<bdi>{}</bdi>", texts)
