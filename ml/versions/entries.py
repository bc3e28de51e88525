"""What a registry says of a version. Who reaches the registry can write there, so each part is looked at before it is used."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ml.versions.version import MAX_TITLE, CheckpointError

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_SYMBOLS = 65_536
_MAX_VALUES = 200  # parameters and metrics of a run that are told, each
_MAX_VALUE = 500  # characters of a parameter
_MAX_METRIC = 1e15  # what is beyond measures nothing


class RegistryError(Exception):
    """The registry cannot be reached, for now. `exit_code` is how `python -m ml` ends with it."""

    exit_code = 1


class VersionRefused(RegistryError):
    """What the registry has of a version must not be used. Asked again it would say the same."""

    exit_code = 3


class NotInRegistry(VersionRefused):
    """The registry does not hold what was asked for."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """What the registry knows of one version. `problem` says why it cannot be used; what could not be read is empty then."""

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
    problem: str = ""


def is_not_found(error: Exception) -> bool:
    """Tell whether mlflow, or the server it asked for files, says that something does not exist."""
    response = getattr(error, "response", None)  # of requests, when files are fetched
    return (
        getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST"
        or getattr(response, "status_code", 0) == 404
    )


class EntryReader:
    """Reads entries of the registry, of which any part may be missing or odd. Runs are asked for once each."""

    def __init__(self, client: MlflowClient, check_source: Callable[[str], None]) -> None:
        self._client = client
        self._check_source = check_source
        self._runs: dict[str, Run | None] = {}

    def read(self, version: ModelVersion) -> RegisteredVersion:
        """Return what an entry says, and in `problem` the first thing that is wrong with it."""
        digest, symbols = version.tags.get("digest", ""), version.tags.get("vocabulary_size", "")
        title, run = version.tags.get("title", ""), self._run(str(version.run_id or ""))
        metrics = {
            key: value
            for key, value in (run.data.metrics if run else {}).items()
            if not key.startswith("curve.")
        }
        return RegisteredVersion(
            name=version.name,
            version=int(version.version),
            digest=digest if _DIGEST.fullmatch(digest) else "",
            title="".join(filter(str.isprintable, title))[:MAX_TITLE],
            run_id=str(version.run_id or "")[:64],
            vocabulary_size=int(symbols) if _is_symbols(symbols) else 0,
            parameters=_first(run.data.params if run else {}),
            metrics=dict(
                sorted((key, value) for key, value in metrics.items() if _is_sensible(value))[
                    :_MAX_VALUES
                ]
            ),
            created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
            source=str(version.source),
            problem=next(self._problems(version, run, metrics), ""),
        )

    def _problems(
        self, version: ModelVersion, run: Run | None, metrics: Mapping[str, float]
    ) -> Iterator[str]:
        digest, title = version.tags.get("digest", ""), version.tags.get("title", "")
        if not digest:
            yield "it has no tag 'digest'"
        elif not _DIGEST.fullmatch(digest):
            yield "its tag 'digest' is no SHA-256 of 64 hexadecimal digits"
        if not _is_symbols(version.tags.get("vocabulary_size", "")):
            yield "it has no tag 'vocabulary_size' with a number of symbols"
        if len(title) > MAX_TITLE or not title.isprintable():
            yield f"its title is not one line of at most {MAX_TITLE} characters"
        if run is None:
            yield "it has no run, or its run was deleted"
        for name in sorted(name for name, value in metrics.items() if not _is_sensible(value)):
            yield f"its metric {name[:60]!r} is no sensible number"
        try:
            self._check_source(str(version.source or ""))
        except CheckpointError as error:
            yield str(error)

    def _run(self, run_id: str) -> Run | None:
        from mlflow.exceptions import MlflowException

        if run_id and run_id not in self._runs:
            try:
                self._runs[run_id] = self._client.get_run(run_id)
            except MlflowException as error:
                if not is_not_found(error):
                    raise
                self._runs[run_id] = None
        return self._runs.get(run_id)


def _is_sensible(metric: float) -> bool:
    return math.isfinite(metric) and abs(metric) <= _MAX_METRIC


def _is_symbols(tag: str) -> bool:
    return tag.isascii() and tag.isdecimal() and len(tag) < 6 and 2 <= int(tag) <= _MAX_SYMBOLS


def _first(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return parameters as a row can hold them."""
    return {
        key: value.replace("\0", "")[:_MAX_VALUE]
        for key, value in sorted(parameters.items())[:_MAX_VALUES]
    }
