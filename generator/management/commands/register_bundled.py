"""`manage.py register_bundled`: the first model versions of a new installation."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Registers data/models/* if the registry is empty, and mirrors the registry into rows."""

    help = __doc__ or ""

    def handle(self, *args: Any, **options: Any) -> None:
        from generator.versions.registry import register_bundled
        from ml.versions.errors import RegistryError, VersionError

        try:
            titles = register_bundled()
        except (VersionError, RegistryError) as error:
            raise CommandError(str(error)) from error
        for title in titles:
            self.stdout.write(f"registered: {title}")
