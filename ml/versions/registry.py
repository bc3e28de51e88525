"""Model versions in an MLflow registry: plain artefact folders under one name, with the alias `champion` on the live one.

Importing mlflow takes seconds and 180 MB, so it happens inside the calls; the serving processes
never make one.
"""

from __future__ import annotations

import csv
import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ml.versions.artifacts import (
    SCHEME,
    check_server_source,
    experiment_id,
    local_artifacts,
    local_database,
    relative_source,
    run_folder,
    source_folder,
)
from ml.versions.entries import (
    EntryReader,
    NotInRegistry,
    RegisteredVersion,
    RegistryError,
    VersionRefused,
    is_not_found,
)
from ml.versions.version import (
    CheckpointError,
    Version,
    check_step_graph,
    is_complete,
    read_version,
)

__all__ = ["NotInRegistry", "RegisteredVersion", "Registry", "RegistryError", "VersionRefused"]

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

NAME = "charrnn"
CHAMPION = "champion"
PREVIOUS = "previous"
ARTIFACT = "version"  # the folder inside a run's artefacts

_PAGE = 1_000  # entries asked for at once

_ENVIRONMENT = {
    "MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}


class Registry:
    """The registry at `uri`: a server, or a local SQLite file with the artefacts beside it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._artifacts = local_artifacts(uri)
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)

    def _client(self) -> MlflowClient:
        from mlflow.tracking import MlflowClient

        if (database := local_database(self.uri)) and database.exists():
            with closing(sqlite3.connect(database)) as opened:  # mlflow would try for minutes
                opened.execute("PRAGMA schema_version")
        return MlflowClient(self.uri, self.uri)

    def register(self, folder: Path) -> RegisteredVersion:
        """Check the version in `folder`, log it as a run with its artefacts, and register it."""
        version = read_version(folder)
        check_step_graph(version)
        curve = list(_curve(version.folder / "metrics.csv"))
        with _failures("register a version"):
            client = self._client()
            run = client.create_run(experiment_id(client, NAME, self.uri), run_name=version.title)
            _log(client, run.info.run_id, version, curve)
            source = self._keep(client, run, folder)
            client.set_terminated(run.info.run_id)
            if not client.search_registered_models(f"name = '{NAME}'"):
                client.create_registered_model(NAME)
            tags = {
                "digest": version.digest,
                "title": version.title,
                "vocabulary_size": str(len(version.vocabulary)),
            }
            created = client.create_model_version(
                NAME, source, run.info.run_id, tags=tags, description=version.title
            )
            return EntryReader(client, self._check_source).read(created)

    def _keep(self, client: MlflowClient, run: Run, folder: Path) -> str:
        """Copy a version's files to the artefacts of a run, and return the source that names them.

        Not by MLflow when they are local: it would make the folder anew that they were in before
        they were moved.
        """
        if self._artifacts is None:
            if not run.info.artifact_uri.startswith(f"{SCHEME}:"):
                raise RegistryError(
                    "the registry's server keeps no artefacts; start it with --artifacts-destination"
                )
            client.log_artifacts(run.info.run_id, str(folder), ARTIFACT)
            return f"{run.info.artifact_uri}/{ARTIFACT}"
        kept = run_folder(self._artifacts, run.info.run_id) / ARTIFACT
        shutil.copytree(folder, kept)
        return relative_source(kept, self._artifacts)

    def versions(self) -> list[RegisteredVersion]:
        """Return every version, oldest first; one odd entry says so in its `problem` and hides no other."""
        with _failures("list the versions"):
            client = self._client()
            found: list[ModelVersion] = []
            token: str | None = None
            while True:
                page = client.search_model_versions(
                    f"name = '{NAME}'", max_results=_PAGE, page_token=token
                )
                found.extend(page)
                token = page.token
                if not token:
                    break
            reader = EntryReader(client, self._check_source)
            return sorted(
                (reader.read(version) for version in found), key=lambda version: version.version
            )

    def version(self, number: int) -> RegisteredVersion:
        """Return the version with this number. Raises NotInRegistry, and VersionRefused when its entry cannot be used."""
        found = self._entry(number)
        if found.problem:
            raise VersionRefused(
                f"version {number} of the registry cannot be used: {found.problem}"
            )
        return found

    def _entry(self, number: int) -> RegisteredVersion:
        with _failures(
            f"look up version {number}", missing=f"version {number} is not in the registry"
        ):
            client = self._client()
            return EntryReader(client, self._check_source).read(
                client.get_model_version(NAME, str(number))
            )

    def _check_source(self, source: str) -> None:
        """Raise SourceError for a source that is not read."""
        if self._artifacts is None:
            check_server_source(source, self.uri)
        else:
            source_folder(source, self._artifacts)

    def has_files(self, version: RegisteredVersion) -> bool:
        """Tell whether the files of a readable version are there to be fetched. A server is not asked, but believed."""
        return self._artifacts is None or source_folder(version.source, self._artifacts).is_dir()

    def champion(self) -> int | None:
        """Return the version number the champion alias points to."""
        with _failures("read the champion alias"):
            models = self._client().search_registered_models(f"name = '{NAME}'")
            alias = models[0].aliases.get(CHAMPION) if models else None
            return int(alias) if alias is not None else None

    def set_champion(self, version: int) -> None:
        """Move the champion alias to `version`, and `previous` to where it was."""
        before = self.champion()
        with _failures(
            "move the champion alias", missing=f"version {version} is not in the registry"
        ):
            client = self._client()
            client.set_registered_model_alias(NAME, CHAMPION, str(version))
            if before is not None and before != version:
                client.set_registered_model_alias(NAME, PREVIOUS, str(before))

    def fetch(self, version: int, folder: Path) -> Version:
        """Copy the files of `version` to `folder` and return it, verified.

        `folder` is there complete or not at all. Of two who fetch at once the first one's copy
        stays.
        """
        registered = self._entry(version)
        if not registered.digest:
            raise VersionRefused(
                f"version {version} of the registry cannot be used: {registered.problem}"
            )
        self._check_source(registered.source)
        with _failures(
            f"fetch version {version}",
            missing=f"the files of version {version} are not in the registry",
        ):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                dir=folder.parent, prefix=f".{folder.name}-"
            ) as scratch:
                got = self._copy(registered.source, Path(scratch))
                found = read_version(got)
                if found.digest != registered.digest:
                    raise CheckpointError(
                        f"version {version} has the digest {found.digest[:12]}, the registry says {registered.digest[:12]}"
                    )
                check_step_graph(found)
                _put(got, folder, aside=Path(scratch) / "incomplete")
        return read_version(folder)

    def _copy(self, source: str, scratch: Path) -> Path:
        if self._artifacts is None:
            from mlflow.artifacts import download_artifacts, list_artifacts

            if not list_artifacts(
                artifact_uri=source, tracking_uri=self.uri
            ):  # fetched, they would be an error of the server's
                raise VersionRefused("its files are not in the registry")
            return Path(
                download_artifacts(
                    artifact_uri=source, dst_path=str(scratch), tracking_uri=self.uri
                )
            )
        folder = source_folder(source, self._artifacts)
        read_version(folder)  # before it is copied: no link out of the artefacts, nothing endless
        return Path(shutil.copytree(folder, scratch / ARTIFACT, symlinks=True))


def _put(got: Path, folder: Path, *, aside: Path) -> None:
    """Rename `got` to `folder`. What is there already stays, unless it is a part only, which an interrupted copy left."""
    if folder.exists() and not is_complete(folder):
        folder.rename(aside)
    try:
        got.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


@contextmanager
def _failures(doing: str, missing: str = "") -> Iterator[None]:
    """Turn whatever mlflow and its transports raise into a RegistryError of one line.

    `missing` is what to say when the registry answers that it does not hold what was asked for.
    """
    try:
        yield
    except (CheckpointError, RegistryError):
        raise
    except (
        Exception
    ) as error:  # mlflow lets through what SQLAlchemy, requests and its own parsing raise
        if missing and is_not_found(error):
            raise NotInRegistry(missing) from error
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise RegistryError(f"the model registry could not {doing}: {first_line[:300]}") from error


def _log(
    client: MlflowClient, run_id: str, version: Version, curve: list[tuple[str, float, int]]
) -> None:
    """Log a version's parameters, final metrics, and the losses by characters seen."""
    from mlflow.entities import Metric, Param

    now = int(datetime.now(UTC).timestamp() * 1000)
    parameters = [
        Param(key, str(value))
        for key, value in {**asdict(version.model), **version.training}.items()
    ]
    metrics = [
        Metric(key, value, now, 0)
        for key, value in version.metrics.items()
        if isinstance(value, int | float)
    ]
    metrics += [Metric(f"curve.{key}", value, now, chars) for key, value, chars in curve]
    client.log_batch(run_id, metrics=metrics[:1000], params=parameters)


def _curve(path: Path) -> Iterator[tuple[str, float, int]]:
    """Yield name, value and characters seen of each loss in metrics.csv."""
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                for key, value in row.items():
                    if key.endswith("nats_per_char"):
                        yield key, float(value), int(row["chars"])
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise CheckpointError(f"metrics.csv is not a table of losses: {str(error)[:100]}") from None
