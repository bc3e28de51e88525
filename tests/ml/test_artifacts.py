"""Which sources of a registry are read: those below its artefacts, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.versions.artifacts import check_server_source, local_artifacts, source_folder
from ml.versions.errors import SourceError


@pytest.mark.parametrize(
    "source",
    [
        "/etc",
        "file:///etc/passwd",
        "file://host/etc",
        "file:///var/mlartifacts/../../etc",
        "mlflow-artifacts:/../versions",
        "mlflow-artifacts:/%2e%2e/versions",
        "mlflow-artifacts:/link/version",
        "mlflow-artifacts:/",
        "mlflow-artifacts://elsewhere/run/artifacts/version",
        "http://127.0.0.1/x",
        "s3://bucket/x",
        "models:/charrnn/1",
        "runs:/abc/version",
        "mlflow-artifacts:/a\0b",
        "mlflow-artifacts:/loop/version",
        "",
    ],
)
def test_a_source_outside_of_the_artefacts_is_not_read(tmp_path: Path, source: str) -> None:
    artifacts = tmp_path / "mlartifacts"
    artifacts.mkdir()
    (artifacts / "link").symlink_to("/etc")
    (artifacts / "loop").symlink_to(artifacts / "loop")
    with pytest.raises(SourceError):
        source_folder(source, artifacts)


def test_sources_of_each_kind_below_the_artefacts(tmp_path: Path) -> None:
    artifacts = tmp_path / "a #1%20" / "mlartifacts"
    wanted = artifacts / "run" / "artifacts" / "version"
    wanted.mkdir(parents=True)
    for source in (
        "mlflow-artifacts:/run/artifacts/version",
        wanted.as_uri(),
        str(wanted),
        "file:///moved/away/mlartifacts/run/artifacts/version",
        "/mlartifacts/of/old/mlartifacts/run/artifacts/version",
    ):
        assert source_folder(source, artifacts) == wanted, source
    assert (
        local_artifacts(f"sqlite:///{tmp_path / 'mlflow.db'}")
        == artifacts.parent.parent / "mlartifacts"
    )
    assert local_artifacts("http://127.0.0.1:5000") is None


@pytest.mark.parametrize(
    "source",
    [
        "/etc",
        "file:///etc",
        "s3://bucket/x",
        "mlflow-artifacts://other:5000/x",
        "mlflow-artifacts:/../x",
        "mlflow-artifacts:/%2e%2e/x",
    ],
)
def test_a_server_is_asked_for_its_own_artefacts_only(source: str) -> None:
    with pytest.raises(SourceError):
        check_server_source(source, "http://127.0.0.1:5000")
    check_server_source("mlflow-artifacts:/0/run/artifacts/version", "http://127.0.0.1:5000")
