"""`manage.py prestart`: prepare the state folder, once before the processes of a start."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from generator.models import ModelVersion
from generator.operations import processes, state_folder


class Command(BaseCommand):
    """Skips the steps that are done already, so that a second start takes a second."""

    help = "Bring the database, the static files and the model registry up to date."
    requires_system_checks = ()  # migrate and collectstatic would run them once more

    def handle(self, *args: Any, **options: Any) -> None:
        closed, said = state_folder.close_to_others(settings.DATA_DIR)
        if said:
            self.stdout.write(f"{'✓' if closed else '✗'} state folder  {said}")
        call_command("check", stdout=io.StringIO())
        call_command("migrate", interactive=False, verbosity=0)
        self.stdout.write("✓ database      migrated")
        self._collect_static()
        self._register_bundled()

    def _collect_static(self) -> None:
        mark, sources = Path(settings.STATIC_ROOT) / ".sources", _static_sources()
        if not mark.exists() or mark.read_text() != sources:
            call_command("collectstatic", interactive=False, verbosity=0)
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(sources)
        self.stdout.write("✓ static        collected")

    def _register_bundled(self) -> None:
        if not ModelVersion.objects.exists():
            self.stdout.write(
                "… models        registering the bundled versions "
                "(the first time takes half a minute)"
            )
            self.stdout.flush()
            # In a process of its own: mlflow takes 180 MB, which `up` would keep while it runs.
            command = [sys.executable, str(processes.HOME / "manage.py"), "register_bundled"]
            if subprocess.run(
                command, env={**os.environ, **processes.shared()}, stdout=subprocess.DEVNULL
            ).returncode:
                raise CommandError(
                    "The bundled model versions could not be registered; the reason is above."
                )
        count = ModelVersion.objects.count()
        self.stdout.write(f"{'✓' if count else '✗'} models        {count} registered")


def _static_sources() -> str:
    """Return a digest of the sources of static files and of the way they are stored."""
    digest = hashlib.sha256(repr(settings.STORAGES["staticfiles"]).encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            status = Path(storage.path(name)).stat()
            digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
