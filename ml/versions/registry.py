"""Model versions in an MLflow registry: plain artefact folders under one name.

The alias `champion` marks the live one. Importing mlflow takes seconds and 180 MB, so it happens
inside the calls; the serving processes never make one.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ml.measurements import MeasurementsError, read_losses
from ml.versions.artifacts import (
    SCHEME,
    check_server_source,
    experiment_id,
    local_artifacts,
    relative_source,
    run_folder,
    source_folder,
)
from ml.versions.client import failures, open_client, set_environment
from ml.versions.entries import EntryReader, RegisteredVersion
from ml.versions.errors import RegistryError, VersionError, VersionRefused
from ml.versions.graph import check_step_graph
from ml.versions.version import Version, is_complete, read_version

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

NAME = "charrnn"
CHAMPION = "champion"
PREVIOUS = "previous"
ARTIFACT = "version"  # the folder inside a run's artefacts

_PAGE = 1_000  # entries asked for at once


class Registry:
    """The registry at `uri`: a server, or a local SQLite file with the artefacts beside it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._artifacts = local_artifacts(uri)
        set_environment()

    def register(self, folder: Path) -> RegisteredVersion:
        """Check the version in `folder`, log it as a run with its artefacts, and register it.

        Raises VersionError or RegistryError.
        """
        version = read_version(folder)
        check_step_graph(version)
        try:
            curve = read_losses(version.folder)
        except MeasurementsError as error:
            raise VersionError(str(error)) from None
        with failures("register a version"):
            client = open_client(self.uri)
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

        Not through MLflow for a local database: it would write to where the artefacts once were,
        if they have been moved.
        """
        if self._artifacts is None:
            if not run.info.artifact_uri.startswith(f"{SCHEME}:"):
                raise RegistryError(
                    "the registry's server keeps no artefacts; "
                    "start it with --artifacts-destination"
                )
            client.log_artifacts(run.info.run_id, str(folder), ARTIFACT)
            return f"{run.info.artifact_uri}/{ARTIFACT}"
        kept = run_folder(self._artifacts, run.info.run_id) / ARTIFACT
        shutil.copytree(folder, kept)
        return relative_source(kept, self._artifacts)

    def versions(self) -> list[RegisteredVersion]:
        """Return every version, oldest first; those that cannot be used have their `problem`."""
        with failures("list the versions"):
            client = open_client(self.uri)
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
        """Return the version with this number.

        Raises NotInRegistry, and VersionRefused when its entry cannot be used.
        """
        found = self._entry(number)
        if found.problem:
            raise VersionRefused(
                f"version {number} of the registry cannot be used: {found.problem}"
            )
        return found

    def _entry(self, number: int) -> RegisteredVersion:
        with failures(
            f"look up version {number}", missing=f"version {number} is not in the registry"
        ):
            client = open_client(self.uri)
            return EntryReader(client, self._check_source).read(
                client.get_model_version(NAME, str(number))
            )

    def _check_source(self, source: str) -> None:
        """Raise SourceError for a source that must not be read."""
        if self._artifacts is None:
            check_server_source(source, self.uri)
        else:
            source_folder(source, self._artifacts)

    def has_files(self, version: RegisteredVersion) -> bool:
        """Tell whether the files of a usable version can be fetched; a server is not asked."""
        return self._artifacts is None or source_folder(version.source, self._artifacts).is_dir()

    def champion(self) -> int | None:
        """Return the version number the champion alias points to."""
        with failures("read the champion alias"):
            models = open_client(self.uri).search_registered_models(f"name = '{NAME}'")
            alias = models[0].aliases.get(CHAMPION) if models else None
            return int(alias) if alias is not None else None

    def set_champion(self, version: int) -> None:
        """Move the champion alias to `version`, and `previous` to where it was."""
        before = self.champion()
        with failures(
            "move the champion alias", missing=f"version {version} is not in the registry"
        ):
            client = open_client(self.uri)
            client.set_registered_model_alias(NAME, CHAMPION, str(version))
            if before is not None and before != version:
                client.set_registered_model_alias(NAME, PREVIOUS, str(before))

    def fetch(self, version: int, folder: Path) -> Version:
        """Copy the files of `version` to `folder` and return it, verified.

        `folder` appears complete or not at all. Of two processes that fetch at once, the copy of
        the first stays. Raises VersionError or RegistryError.
        """
        registered = self._entry(version)
        if not registered.digest:
            raise VersionRefused(
                f"version {version} of the registry cannot be used: {registered.problem}"
            )
        self._check_source(registered.source)
        with failures(
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
                    raise VersionError(
                        f"version {version} has the digest {found.digest[:12]}, "
                        f"the registry says {registered.digest[:12]}"
                    )
                check_step_graph(found)
                _put(got, folder, aside=Path(scratch) / "incomplete")
        return read_version(folder)

    def _copy(self, source: str, scratch: Path) -> Path:
        if self._artifacts is None:
            from mlflow.artifacts import download_artifacts, list_artifacts

            # Downloading nothing would look like an error of the server.
            if not list_artifacts(artifact_uri=source, tracking_uri=self.uri):
                raise VersionRefused("its files are not in the registry")
            return Path(
                download_artifacts(
                    artifact_uri=source, dst_path=str(scratch), tracking_uri=self.uri
                )
            )
        folder = source_folder(source, self._artifacts)
        read_version(folder)  # before copying: no link leads out of the artefacts, sizes are right
        return Path(shutil.copytree(folder, scratch / ARTIFACT, symlinks=True))


def _put(got: Path, folder: Path, *, aside: Path) -> None:
    """Rename `got` to `folder`, unless that is complete already.

    An incomplete folder, left by an interrupted copy, is moved to `aside`.
    """
    if folder.exists() and not is_complete(folder):
        folder.rename(aside)
    try:
        got.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


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
