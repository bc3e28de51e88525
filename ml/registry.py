"""Model versions in an MLflow registry: plain artefact folders under one name, with the alias `champion` on the live one.

Importing mlflow takes seconds and 180 MB, so it happens inside the calls; the serving processes never make one.
"""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.checkpoint import CheckpointError, Version, check_step_graph, read_version

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

NAME = "charrnn"
CHAMPION = "champion"
PREVIOUS = "previous"
ARTIFACT = "version"  # the folder inside a run's artefacts

_ENVIRONMENT = {
    "MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}


class RegistryError(Exception):
    """The registry cannot be reached or does not hold what was asked for."""


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """What the registry knows of one version."""

    name: str
    version: int
    digest: str
    title: str
    run_id: str
    vocabulary_size: int
    parameters: dict[str, str]
    metrics: dict[str, float]
    created: datetime
    source: str


class Registry:
    """The registry at `uri`: a server, or a local SQLite file whose artefacts lie in `artifacts`."""

    def __init__(self, uri: str, artifacts: Path | None = None) -> None:
        self.uri = uri
        self._artifacts = artifacts
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)

    def _client(self) -> MlflowClient:
        from mlflow.tracking import MlflowClient

        return MlflowClient(self.uri, self.uri)

    def register(self, folder: Path) -> RegisteredVersion:
        """Check the version in `folder`, log it as a run with its artefacts, and register it."""
        version = read_version(folder)
        check_step_graph(version)
        with _failures("register a version"):
            client = self._client()
            run = client.create_run(self._experiment(client), run_name=version.title)
            _log(client, run.info.run_id, version)
            client.log_artifacts(run.info.run_id, str(folder), ARTIFACT)
            client.set_terminated(run.info.run_id)
            if not client.search_registered_models(f"name = '{NAME}'"):
                client.create_registered_model(NAME)
            tags = {"digest": version.digest, "title": version.title, "vocabulary_size": str(len(version.vocabulary))}
            created = client.create_model_version(
                NAME, f"{run.info.artifact_uri}/{ARTIFACT}", run.info.run_id, tags=tags, description=version.title
            )
            return _read(client, created)

    def _experiment(self, client: MlflowClient) -> str:
        if experiment := client.get_experiment_by_name(NAME):
            return str(experiment.experiment_id)
        location = self._artifacts.resolve().as_uri() if self._artifacts else None
        return str(client.create_experiment(NAME, artifact_location=location))

    def versions(self) -> list[RegisteredVersion]:
        """Return every version that carries a digest, oldest first."""
        with _failures("list the versions"):
            client = self._client()
            found: list[ModelVersion] = []
            token: str | None = None
            while True:
                page = client.search_model_versions(f"name = '{NAME}'", page_token=token)
                found.extend(page)
                token = page.token
                if not token:
                    break
            ours = [_read(client, version) for version in found if "digest" in version.tags]
            return sorted(ours, key=lambda version: version.version)

    def champion(self) -> int | None:
        """Return the version number the champion alias points to."""
        with _failures("read the champion alias"):
            models = self._client().search_registered_models(f"name = '{NAME}'")
            alias = models[0].aliases.get(CHAMPION) if models else None
            return int(alias) if alias is not None else None

    def set_champion(self, version: int) -> None:
        """Move the champion alias to `version`, and `previous` to where it was."""
        before = self.champion()
        with _failures("move the champion alias"):
            client = self._client()
            client.set_registered_model_alias(NAME, CHAMPION, str(version))
            if before is not None and before != version:
                client.set_registered_model_alias(NAME, PREVIOUS, str(before))

    def fetch(self, version: int, folder: Path) -> Version:
        """Copy the files of `version` to `folder` (made complete, or not at all) and return it, verified."""
        with _failures(f"fetch version {version}"):
            from mlflow.artifacts import download_artifacts

            client = self._client()
            registered = _read(client, client.get_model_version(NAME, str(version)))
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as scratch:
                got = download_artifacts(artifact_uri=registered.source, dst_path=scratch, tracking_uri=self.uri)
                found = read_version(Path(got))
                if found.digest != registered.digest:
                    raise CheckpointError(
                        f"version {version} has the digest {found.digest[:12]}, the registry says {registered.digest[:12]}"
                    )
                check_step_graph(found)
                if not folder.exists():
                    shutil.move(got, folder)
        return read_version(folder)


@contextmanager
def _failures(doing: str) -> Iterator[None]:
    """Turn what mlflow and its transports raise into a RegistryError that says what could not be done."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RegistryError(f"the model registry could not {doing}: {first_line[:300]}") from error


def _log(client: MlflowClient, run_id: str, version: Version) -> None:
    """Log a version's parameters, final metrics, and the losses by characters seen."""
    from mlflow.entities import Metric, Param

    now = int(datetime.now(UTC).timestamp() * 1000)
    parameters = [Param(key, str(value)) for key, value in {**asdict(version.model), **version.training}.items()]
    metrics = [Metric(key, value, now, 0) for key, value in version.metrics.items() if isinstance(value, int | float)]
    path = version.folder / "metrics.csv"
    if path.exists():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                metrics += [
                    Metric(f"curve.{key}", float(value), now, int(row["chars"]))
                    for key, value in row.items()
                    if key.endswith("nats_per_char")
                ]
    client.log_batch(run_id, metrics=metrics[:1000], params=parameters)


def _read(client: MlflowClient, version: ModelVersion) -> RegisteredVersion:
    run: Any = client.get_run(str(version.run_id))
    return RegisteredVersion(
        name=version.name,
        version=int(version.version),
        digest=version.tags["digest"],
        title=version.tags.get("title", ""),
        run_id=str(version.run_id),
        vocabulary_size=int(version.tags["vocabulary_size"]),
        parameters=dict(run.data.params),
        metrics={key: value for key, value in run.data.metrics.items() if not key.startswith("curve.")},
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        source=str(version.source),
    )
