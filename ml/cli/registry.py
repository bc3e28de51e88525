"""`python -m ml register` and `fetch`: versions to the registry, and from it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.errors import UserError

if TYPE_CHECKING:
    from ml.versions.registry import Registry


def add_register(commands: Any) -> None:
    """Add `register`."""
    register = commands.add_parser(
        "register", help="register a version folder in the registry at MLFLOW_TRACKING_URI"
    )
    register.add_argument("folder", type=Path)
    register.set_defaults(command=_register)


def add_fetch(commands: Any) -> None:
    """Add `fetch`."""
    fetch = commands.add_parser(
        "fetch", help="copy the files of a registered version from the registry, verified"
    )
    fetch.add_argument("--version", type=int, required=True)
    fetch.add_argument("--out", type=Path, required=True)
    fetch.set_defaults(command=_fetch)


def _register(arguments: argparse.Namespace) -> None:
    version = open_registry().register(arguments.folder)
    print(f"{version.name} version {version.version}: {version.title}")


def _fetch(arguments: argparse.Namespace) -> None:
    from ml.versions.errors import RegistryError, VersionError

    try:
        version = open_registry().fetch(arguments.version, arguments.out)
    except (VersionError, RegistryError) as error:  # the code says whether to try again
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"{version.title}, digest {version.digest}")


def open_registry() -> Registry:
    """Return the registry at MLFLOW_TRACKING_URI. Raises UserError if that is not set."""
    from ml.versions.registry import Registry

    return Registry(tracking_uri())


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI. Raises UserError if it is not set."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        raise UserError(
            "set MLFLOW_TRACKING_URI to the registry, such as sqlite:///data/var/mlflow.db"
        )
    return uri
