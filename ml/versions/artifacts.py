"""Where the files of runs and versions lie, and which sources of a registry may be read.

The files of a local database lie in one folder beside it. Sources are written as
`mlflow-artifacts:/RUN/artifacts/version`, which MLflow resolves relative to the artefacts: the
folder may be moved, and a server that is started on it finds the files too.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from ml.versions.errors import SourceError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SCHEME = "mlflow-artifacts"
_FOLDER = "mlartifacts"


def local_database(uri: str) -> Path | None:
    """Return the file of a local database; None for the address of a server."""
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)) if uri.startswith(prefix) else None


def local_artifacts(uri: str) -> Path | None:
    """Return the folder of a local database's artefacts; None for a server, which has its own."""
    database = local_database(uri)
    return database.parent / _FOLDER if database else None


def run_folder(artifacts: Path, run_id: str) -> Path:
    """Return the folder of a run's files, whatever path its experiment was created with."""
    return artifacts / run_id / "artifacts"


def relative_source(folder: Path, artifacts: Path) -> str:
    """Return the source that names `folder`, which lies below `artifacts`."""
    return f"{SCHEME}:/{folder.relative_to(artifacts).as_posix()}"


def source_folder(source: str, artifacts: Path) -> Path:
    """Return the folder below `artifacts` that a source of a local registry names.

    Of an absolute path, as older releases wrote them, the part after `mlartifacts` counts: the
    folder around it may have been moved. Raises SourceError for any other source.
    """
    parts = urlsplit(source)
    if parts.scheme == SCHEME and not parts.netloc:
        relative = PurePosixPath(unquote(parts.path).lstrip("/"))
    elif parts.scheme in ("", "file") and not parts.netloc:
        relative = _below(PurePosixPath(unquote(parts.path) if parts.scheme else source), artifacts)
    else:
        raise SourceError("its source is no folder of the registry's artefacts")
    try:
        folder, home = (artifacts / relative).resolve(), artifacts.resolve()
    except (ValueError, OSError, RuntimeError):  # a NUL, a name that is too long, a link to itself
        raise SourceError("its source is no path") from None
    if home not in folder.parents:
        raise SourceError("its source lies outside of the registry's artefacts")
    return folder


def _below(path: PurePosixPath, artifacts: Path) -> PurePosixPath:
    if path.is_relative_to(artifacts.absolute()):
        return path.relative_to(artifacts.absolute())
    if _FOLDER not in path.parts:
        raise SourceError("its source lies outside of the registry's artefacts")
    last = len(path.parts) - 1 - path.parts[::-1].index(_FOLDER)
    return PurePosixPath(*path.parts[last + 1 :])


def check_server_source(source: str, uri: str) -> None:
    """Raise SourceError unless the server at `uri` itself hands out what `source` names."""
    parts, server = urlsplit(source), urlsplit(uri)
    if parts.scheme != SCHEME or _is_elsewhere(parts, server):
        raise SourceError(
            "its source is not kept by the registry's server "
            "(start the server with --artifacts-destination)"
        )
    if ".." in PurePosixPath(unquote(parts.path)).parts:
        raise SourceError("its source lies outside of the registry's artefacts")


def _is_elsewhere(parts: SplitResult, server: SplitResult) -> bool:
    return bool(parts.netloc) and parts.netloc != server.netloc


def experiment_id(client: MlflowClient, name: str, uri: str) -> str:
    """Return the id of the experiment `name`, which is created if it does not exist."""
    if experiment := client.get_experiment_by_name(name):
        return str(experiment.experiment_id)
    return str(
        client.create_experiment(
            name, artifact_location=f"{SCHEME}:/" if local_artifacts(uri) else None
        )
    )
