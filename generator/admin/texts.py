"""The texts of everybody, to look at and to search."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from generator.admin.base import ReadOnlyAdmin, foreign
from generator.models import Generation
from generator.parameters import SAMPLING_NAMES
from generator.search import matching

SHOWN_AS = {"length": "length_shown", "stop": "stop_shown"}  # columns that the admin formats


@admin.register(Generation)
class GenerationAdmin(ReadOnlyAdmin):
    """What was asked for and written."""

    list_display = (
        "created_at",
        "state",
        "version_shown",
        "owner_shown",
        "prompt_start",
        "length_shown",
    )
    list_filter = ("state", "model_version")
    search_fields = ("prompt", "text")
    search_help_text = "Searches prompts and texts. Case and accents make no difference."
    date_hierarchy = "created_at"
    list_select_related = ("model_version", "user")
    show_full_result_count = False
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "owner_shown",
                    "prompt",
                    "text",
                    "unknown_characters",
                    "state",
                    "finish_reason",
                    "error",
                )
            },
        ),
        (
            "Asked for",
            {
                "fields": (
                    *(SHOWN_AS.get(name, name) for name in SAMPLING_NAMES),
                    "model_version",
                    "parent",
                    "fork_offset",
                )
            },
        ),
        (
            "How it went",
            {
                "fields": (
                    ("created_at", "dispatched_at"),
                    ("started_at", "first_character_at", "finished_at"),
                    ("worker_id", "attempt", "failures"),
                    "stop_asked_for",
                )
            },
        ),
    )
    readonly_fields = ("created_at",)

    @admin.display(description="version", ordering="model_version__version")
    def version_shown(self, generation: Generation) -> int:
        return generation.model_version.version

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Generation], search_term: str
    ) -> tuple[QuerySet[Generation], bool]:
        """Search as the history does."""
        return (matching(queryset, search_term) if search_term else queryset), False

    @admin.display(description="owner")
    def owner_shown(self, generation: Generation) -> SafeString:
        if generation.user:
            return foreign(str(generation.user))
        return format_html("visitor {}", generation.visitor[:8])

    @admin.display(description="prompt")
    def prompt_start(self, generation: Generation) -> SafeString:
        return foreign(generation.prompt[:60])

    @admin.display(description="length", ordering="length")
    def length_shown(self, generation: Generation) -> str:
        return f"{generation.length:,}"

    @admin.display(description="stop strings")
    def stop_shown(self, generation: Generation) -> SafeString | str:
        stops = ((stop,) for stop in generation.stop)
        return format_html_join(" ", "<code><bdi>{}</bdi></code>", stops) or "–"

    @admin.display(description="stop asked for")
    def stop_asked_for(self, generation: Generation) -> str:
        return "yes" if generation.cancel_requested else "–"
