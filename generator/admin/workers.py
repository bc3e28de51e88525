"""The processes that give heartbeats."""

from __future__ import annotations

from django.contrib import admin

from generator.admin.base import ReadOnlyAdmin
from generator.models import Worker


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Which workers are alive, and what they hold."""

    list_display = ("id", "last_seen", "active_streams", "host", "pid", "started_at")
