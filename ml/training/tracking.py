"""A training run in MLflow, logged while it goes on; a continued run continues its MLflow run.

Losses and speed are logged by characters read, which MLflow calls the step. A server that is away
never stops a training run: what it missed is sent when it answers again. Importing mlflow takes
seconds, so it happens inside the calls.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ml import strict_json
from ml.files import write_whole
from ml.measurements import Measurement
from ml.versions.artifacts import experiment_id, local_artifacts, run_folder
from ml.versions.client import set_environment
from ml.versions.errors import RegistryError

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

EXPERIMENT = "charrnn-training"
# Between attempts to reach a server that is away: each may block training for seconds.
RETRY_SECONDS = 60.0
_BATCH = 1000  # the most metrics that MLflow takes at once


class Tracker:
    """The MLflow run of the training run in `folder`, at the tracking server or database `uri`."""

    def __init__(self, uri: str, folder: Path) -> None:
        self._uri = uri
        self._folder = folder
        self._path = folder / "mlflow.json"  # the id of the MLflow run to continue
        self._metrics: list[Metric] = []  # not yet sent
        self._artifacts: dict[Path, str] = {}
        self._retry_at = 0.0
        self.run_id = ""
        set_environment()

    @cached_property
    def _client(self) -> MlflowClient:
        from mlflow.tracking import MlflowClient

        return MlflowClient(self._uri, self._uri)

    def begin(self, parameters: Mapping[str, Any], rows: Sequence[Measurement]) -> None:
        """Begin or continue the MLflow run.

        Raises RegistryError: unlike later, somebody is there to read it.
        """
        from mlflow.exceptions import MlflowException

        try:
            self.run_id = self._continued(parameters) or self._created(parameters)
            history = self._client.get_metric_history(self.run_id, "validation_nats_per_char")
            last = max((point.step for point in history), default=0)
        except (MlflowException, OSError) as error:
            reason = f"{self._uri} cannot be used for tracking: {_first_line(error)}"
            raise RegistryError(f"{reason}; unset MLFLOW_TRACKING_URI to train without") from error
        for row in rows:
            if row.chars > last:
                self._add(row.chars, asdict(row))

    def _continued(self, parameters: Mapping[str, Any]) -> str | None:
        """Return the id of this folder's run at this server, or None if there is none.

        The run is set to running again; parameters that have changed become tags.
        """
        from mlflow.exceptions import MlflowException

        if not self._path.exists():
            return None
        known = strict_json.parse(self._path.read_bytes())
        try:
            run = self._client.get_run(known["run_id"])
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        self._client.set_terminated(run.info.run_id, "RUNNING")
        for name, value in parameters.items():
            if run.data.params.get(name) != str(value):
                self._client.set_tag(run.info.run_id, f"changed.{name}", str(value))
        return str(run.info.run_id)

    def _created(self, parameters: Mapping[str, Any]) -> str:
        from mlflow.entities import Param

        revision = git_revision()
        tags = {"mlflow.source.git.commit": revision, "mlflow.source.name": "python -m ml train"}
        run = self._client.create_run(
            experiment_id(self._client, EXPERIMENT, self._uri),
            run_name=self._folder.name,
            tags=tags,
        )
        values = {**parameters, "git_revision": revision}
        self._client.log_batch(
            run.info.run_id, params=[Param(name, str(value)) for name, value in values.items()]
        )
        known = strict_json.serialize({"run_id": run.info.run_id})
        write_whole(self._path, (known + "\n").encode())
        return str(run.info.run_id)

    def training(self, chars: int, nats_per_char: float, chars_per_second: float) -> None:
        """Log a point of the training loss."""
        self._add(
            chars, {"batch_nats_per_char": nats_per_char, "chars_per_second_now": chars_per_second}
        )
        self._send()

    def validation(self, row: Measurement, artifacts: Mapping[Path, str]) -> None:
        """Log a validation and files, each to its folder of the run's artefacts ("" for the top).

        Files that could not be sent are sent with the next ones.
        """
        self._add(row.chars, asdict(row))
        self._artifacts |= artifacts
        self._send()

    def end(self, status: str) -> None:
        """Send what is left and set the status: FINISHED, KILLED or FAILED."""
        self._retry_at = 0.0
        if self.run_id:
            self._send()
            self._try(partial(self._client.set_terminated, self.run_id, status))

    def registered(self, name: str, version: int) -> None:
        """Name the registered version in the run, and the run in the version."""
        self._try(
            partial(self._client.set_tag, self.run_id, "registered_version", f"{name}/{version}")
        )
        self._try(
            partial(
                self._client.set_model_version_tag, name, str(version), "training_run", self.run_id
            )
        )

    def _add(self, chars: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._metrics += [
            Metric(name, float(value), now, chars)
            for name, value in values.items()
            if name != "chars"
        ]

    def _send(self) -> None:
        if time.monotonic() < self._retry_at:
            return
        while self._metrics:
            if not self._try(
                partial(self._client.log_batch, self.run_id, metrics=self._metrics[:_BATCH])
            ):
                return
            del self._metrics[:_BATCH]
        for path, folder in list(self._artifacts.items()):
            if not self._try(partial(self._keep, path, folder)):
                return
            del self._artifacts[path]

    def _keep(self, path: Path, folder: str) -> None:
        """Copy a file to the run's artefacts.

        Not through MLflow for a local database: it would write to where the folder once was, if it
        has been moved.
        """
        if artifacts := local_artifacts(self._uri):
            target = run_folder(artifacts, self.run_id) / folder
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        else:
            self._client.log_artifact(self.run_id, str(path), folder or None)

    def _try(self, send: Callable[[], object]) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            send()
        except (MlflowException, OSError) as error:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            tqdm.write(
                f"MLflow does not answer, training goes on: {_first_line(error)}", sys.stderr
            )
            return False
        return True


def git_revision() -> str:
    """Return the commit of this code, with "-dirty" for uncommitted changes, or "unknown"."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
