"""Access to MLflow: its environment, opening a client, and its failures as errors of ours.

Importing mlflow takes seconds and 180 MB, so it happens inside the calls.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from ml.versions.artifacts import local_database
from ml.versions.errors import NotInRegistry, RegistryError, VersionError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_ENVIRONMENT = {
    "MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}


def set_environment() -> None:
    """Set what mlflow reads from the environment; values that are set already stay."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def open_client(uri: str) -> MlflowClient:
    """Return a client of the server or local database at `uri`.

    Raises sqlite3.Error at once for a database that cannot be opened; mlflow would try for
    minutes.
    """
    from mlflow.tracking import MlflowClient

    if (database := local_database(uri)) and database.exists():
        with closing(sqlite3.connect(database)) as opened:
            opened.execute("PRAGMA schema_version")
    return MlflowClient(uri, uri)


def is_not_found(error: Exception) -> bool:
    """Tell whether mlflow, or the server it asked for files, says that something is missing."""
    response = getattr(error, "response", None)  # of requests, when files are fetched
    return (
        getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST"
        or getattr(response, "status_code", 0) == 404
    )


@contextmanager
def failures(doing: str, missing: str = "") -> Iterator[None]:
    """Turn whatever mlflow and its transports raise into a RegistryError of one line.

    With `missing`, the answer that something does not exist becomes NotInRegistry with this
    message.
    """
    try:
        yield
    except (VersionError, RegistryError):
        raise
    # mlflow lets through what SQLAlchemy, requests and its own parsing raise.
    except Exception as error:
        if missing and is_not_found(error):
            raise NotInRegistry(missing) from error
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise RegistryError(f"the model registry could not {doing}: {first_line[:300]}") from error
