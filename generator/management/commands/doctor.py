"""`manage.py doctor`: check every part of an installation and say how to repair it."""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from generator.operations import addresses, health, state_folder
from generator.operations.health import Check


class Command(BaseCommand):
    """Prints the checks and exits with code 1 if one fails. Changes nothing."""

    help = "Say what works and what to do about the rest."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--only", metavar="NAME", help="look at one check only, for example worker"
        )
        parser.add_argument("--json", action="store_true", help="print the checks as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        results = [*_surroundings(), *health.checks(), _web()]
        if options["only"]:
            results = [check for check in results if check.name == options["only"]]
        if options["json"]:
            self.stdout.write(json.dumps([asdict(check) for check in results], indent=2))
        else:
            for check in results:
                self.stdout.write(f"{'✓' if check.ok else '✗'} {check.name:<14}{check.found}")
                if not check.ok:
                    self.stdout.write(f"  {'':<14}→ {check.advice}")
        if not results or not all(check.ok for check in results):
            sys.exit(1)


def _surroundings() -> Iterator[Check]:
    version = sys.version.split()[0]
    yield Check("python", sys.version_info >= (3, 11), version, "Install Python 3.11 or newer.")
    try:
        with tempfile.TemporaryFile(dir=settings.DATA_DIR):
            problem = state_folder.open_to_others(settings.DATA_DIR)
            advice = "Give it a folder of its own, or close this one: chmod 700, by its owner."
            yield Check(
                "state folder", not problem, problem or f"{settings.DATA_DIR}, writable", advice
            )
    except OSError as error:
        yield Check(
            "state folder",
            False,
            f"{settings.DATA_DIR}: {error.strerror}",
            "Correct DATA_DIR or its permissions.",
        )


def _web() -> Check:
    address = addresses.url(settings.HOST, settings.PORT)
    if addresses.get(settings.HOST, settings.PORT, "/healthz", settings.ALLOWED_HOSTS)[0] == 200:
        return Check("web", True, f"answers at {address}")
    return Check("web", False, f"does not answer at {address}", "Start everything with: make run")
