"""What all pages of the admin have in common: rows are only read, foreign text is isolated."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString


def foreign(text: str) -> SafeString:
    """Return text of a person or a model in a <bdi>, so that it cannot reverse ours."""
    return format_html("<bdi>{}</bdi>", text)


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that only the application writes.

    Their pages have no link to the admin's own history, which knows nothing of them.
    """

    view_on_site = False  # a text's page is its owner's alone
    change_form_template = "admin/read_only_form.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
