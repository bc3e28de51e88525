"""Application configuration."""

from __future__ import annotations

from django.apps import AppConfig


class GeneratorConfig(AppConfig):
    """Registers what happens when an account changes."""

    name = "generator"

    def ready(self) -> None:
        from generator.web import identity  # noqa: F401  (connects its signal receivers)
