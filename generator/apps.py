"""Application configuration."""

from __future__ import annotations

from django.apps import AppConfig


class GeneratorConfig(AppConfig):
    """The one application of the site."""

    name = "generator"
