"""The environment of a test's own copy of the product, and commands that run in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from charrnn_site.env import DECLARED
from generator.operations import processes


def isolated_environment(
    data_dir: Path, settings: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the environment of a separate copy, without the developer's own settings or .env."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in {*DECLARED, "DJANGO_SETTINGS_MODULE"}
    }
    own = {"PYTHON_DOTENV_DISABLED": "1", "DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"}
    return {**inherited, **processes.shared(), **own, **(settings or {})}


def project_copy(home: Path) -> Path:
    """Copy the project into the folder `home`, with a link to its bundled models."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=processes.HOME, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if not name.startswith(("tests/", "docs/", "notebooks/", "data/models/")):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(processes.HOME / name, home / name)
    (home / "data" / "models").symlink_to(processes.HOME / "data" / "models")
    return home


def manage(
    environment: Mapping[str, str], *arguments: str, check: bool = True, home: Path = processes.HOME
) -> subprocess.CompletedProcess[str]:
    """Run a management command; raise AssertionError with its output if it fails."""
    command = [sys.executable, str(home / "manage.py"), *arguments]
    done = subprocess.run(
        command, env=dict(environment), capture_output=True, text=True, timeout=300, check=False
    )
    if check and done.returncode:
        raise AssertionError(
            f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
    return done
