"""What a registry says of a version.

Anybody who reaches the registry can write to it, so each part is checked before it is used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ml.versions.client import is_not_found
from ml.versions.errors import VersionError
from ml.versions.version import MAX_TITLE

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_SYMBOLS = 65_536
_MAX_VALUES = 200  # parameters of a run that are kept, and as many metrics
_MAX_VALUE = 500  # characters of a parameter
_MAX_METRIC = 1e15  # nothing that is measured is larger


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """What the registry knows of one version.

    `problem` says why the version cannot be used; parts that could not be read are empty then.
    """

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


class EntryReader:
    """Reads entries of the registry, any part of which may be missing or invalid.

    Each run is asked for once.
    """

    def __init__(self, client: MlflowClient, check_source: Callable[[str], None]) -> None:
        self._client = client
        self._check_source = check_source
        self._runs: dict[str, Run | None] = {}

    def read(self, version: ModelVersion) -> RegisteredVersion:
        """Return what an entry says, with the first thing that is wrong with it in `problem`."""
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
        except VersionError as error:
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
    """Return parameters, cut to what a database row can hold."""
    return {
        key: value.replace("\0", "")[:_MAX_VALUE]
        for key, value in sorted(parameters.items())[:_MAX_VALUES]
    }
