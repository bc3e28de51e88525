"""`manage.py process NAME`: run one of the product's processes, as containers do."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from generator.operations import processes


class Command(BaseCommand):
    """Replaces itself with the process's command line from deploy/supervisord.conf."""

    help = "Run one process of deploy/supervisord.conf in the foreground."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "name", choices=[name for name in processes.programs() if name != "redis"]
        )

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        environment = processes.environment(
            os.environ,
            data_dir=settings.DATA_DIR,
            host=settings.HOST,
            port=settings.PORT,
            max_streams=settings.ENGINE_MAX_STREAMS,
        )
        os.chdir(processes.HOME)
        command = processes.command(name, environment)
        os.execvpe(command[0], command, environment)
