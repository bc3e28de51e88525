"""Application configuration."""

from __future__ import annotations

from django.apps import AppConfig


class GeneratorConfig(AppConfig):
    """Registers the adoption of a visitor's generations at sign-in."""

    name = "generator"

    def ready(self) -> None:
        from generator import owners  # noqa: F401  (connects its signal receiver)
