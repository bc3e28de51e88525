"""Training runs in a real MLflow database.

All tests use the same file, as the first use of a database takes seconds.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
from pathlib import Path

import pytest

from ml.cli import main
from ml.config import TrainConfig
from ml.data.corpus import Corpus, build
from ml.measurements import Measurement, read_measurements
from ml.training.tracking import EXPERIMENT, Tracker, git_revision
from ml.training.trainer import Trainer
from ml.versions.artifacts import local_artifacts, run_folder
from ml.versions.registry import Registry

CONFIG = TrainConfig(
    hidden_size=16,
    batch_size=2,
    max_chars=128 * 200,
    validate_every=128 * 100,
    validation_chars=1_280,
    sample_chars=40,
    threads=1,
)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "text.txt").write_text("the cat sat on a mat. " * 2_000)
    build(folder / "text.txt", folder / "corpus")
    return folder / "corpus"


def client(uri: str):  # type: ignore[no-untyped-def]
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri, uri)


def artifacts(uri: str, run_id: str) -> Path:
    folder = local_artifacts(uri)
    assert folder
    return run_folder(folder, run_id)


def command(corpus: Path, run: Path, *more: str) -> list[str]:
    flags = [
        part
        for option in dataclasses.fields(TrainConfig)
        if getattr(CONFIG, option.name) != option.default
        for part in ("--" + option.name.replace("_", "-"), str(getattr(CONFIG, option.name)))
    ]
    return ["train", "--corpus", str(corpus), "--run", str(run), *flags, *more]


def test_a_run_is_logged_continued_and_registered(
    uri: str,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run = tmp_path / "small"
    half = ("--max-chars", str(128 * 100))
    main(command(corpus, run, *half))
    main(command(corpus, run, "--register", "--title", "a small one"))
    assert "charrnn version 1: a small one" in capsys.readouterr().out

    found = client(uri)
    experiment = found.get_experiment_by_name(EXPERIMENT)
    (logged,) = found.search_runs([experiment.experiment_id])
    assert logged.info.run_name == "small"
    assert logged.info.status == "FINISHED"
    parameters = logged.data.params
    assert parameters["corpus_digest"] == Corpus.open(corpus).digest
    assert parameters["git_revision"] == git_revision()
    assert parameters["learning_rate"] == str(CONFIG.learning_rate)
    assert logged.data.tags["changed.max_chars"] == str(CONFIG.max_chars)
    assert logged.data.tags["registered_version"] == "charrnn/1"

    def curve(name: str) -> list[tuple[int, float]]:
        return [
            (point.step, point.value)
            for point in found.get_metric_history(logged.info.run_id, name)
        ]

    rows = read_measurements(run)
    assert len(rows) == 2
    for name in (
        "validation_nats_per_char",
        "train_nats_per_char",
        "chars_per_second",
        "learning_rate",
        "minutes",
    ):
        assert curve(name) == [(row.chars, getattr(row, name)) for row in rows], name
    assert [step for step, _ in curve("batch_nats_per_char")] == [
        128 * 50 * part for part in (1, 2, 3, 4)
    ]
    assert {path.name for path in artifacts(uri, logged.info.run_id).iterdir()} == {
        "loss.png",
        "metrics.csv",
        "samples",
    }
    assert len(list((artifacts(uri, logged.info.run_id) / "samples").iterdir())) == 2

    (version,) = Registry(uri).versions()
    assert version.metrics["chars"] == min(rows, key=lambda row: row.validation_nats_per_char).chars
    assert found.get_model_version("charrnn", "1").tags["training_run"] == logged.info.run_id
    main(["evaluate", "--model", "charrnn/1", "--corpus", str(corpus), "--json", "--threads", "1"])
    assert '"nats_per_char"' in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no champion"):
        main(["evaluate", "--model", "champion", "--corpus", str(corpus)])


def test_a_continued_run_sends_what_the_server_missed(
    uri: str, corpus: Path, tmp_path: Path
) -> None:
    opened = Corpus.open(corpus)
    # Nothing of this part is logged.
    Trainer(dataclasses.replace(CONFIG, max_chars=128 * 100), opened, tmp_path).run()
    Trainer(CONFIG, opened, tmp_path, Tracker(uri, tmp_path)).run()
    found = client(uri)
    experiment = found.get_experiment_by_name(EXPERIMENT)
    logged = found.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])[
        0
    ]
    history = found.get_metric_history(logged.info.run_id, "validation_nats_per_char")
    assert [point.step for point in history] == [row.chars for row in read_measurements(tmp_path)]


def test_a_server_that_goes_away_does_not_stop_the_training(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker(uri, tmp_path)
    tracker.begin({}, [])
    client(uri).delete_run(tracker.run_id)  # MLflow refuses to log to a deleted run
    for chars in (100, 200, 300):
        tracker.validation(
            Measurement(chars, 1.0, 2.0, 3.0, 4.0, 5.0), {tmp_path / "mlflow.json": ""}
        )
    # It is asked once a minute.
    assert capsys.readouterr().err.count("MLflow does not answer, training goes on") == 1
    client(uri).restore_run(tracker.run_id)
    tracker.end("FINISHED")
    history = client(uri).get_metric_history(tracker.run_id, "validation_nats_per_char")
    assert [(point.step, point.value) for point in history] == [(100, 3.0), (200, 3.0), (300, 3.0)]
    assert [path.name for path in artifacts(uri, tracker.run_id).iterdir()] == ["mlflow.json"]


def test_no_server_at_the_start_is_one_sentence(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(
            SystemExit, match=r"cannot be used for tracking: .*unset MLFLOW_TRACKING_URI"
        ):
            main(command(corpus, tmp_path / "run"))


def test_registering_needs_a_registry(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(SystemExit, match="set MLFLOW_TRACKING_URI"):
        main(command(corpus, tmp_path / "run", "--register"))
    assert not (tmp_path / "run").exists()
    with pytest.raises(SystemExit, match=r"^error: 3 is no folder; .* set MLFLOW_TRACKING_URI"):
        main(["evaluate", "--model", "3", "--corpus", str(corpus)])


def test_the_revision_is_that_of_git(monkeypatch: pytest.MonkeyPatch) -> None:
    if (
        "GIT_DIR" not in os.environ
        and subprocess.run(["git", "rev-parse"], capture_output=True, check=False).returncode == 0
    ):
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        assert git_revision().removesuffix("-dirty") == head
    monkeypatch.setenv("PATH", "")
    assert git_revision() == "unknown"
