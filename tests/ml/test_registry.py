"""The registry in a local database: invalid entries, a data folder that was moved, fetching."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.cli import main
from ml.training.tracking import Tracker
from ml.versions.errors import (
    NotInRegistry,
    RegistryError,
    VersionError,
    VersionRefused,
)
from ml.versions.registry import NAME, Registry, _put
from ml.versions.version import Version, is_complete, read_version
from tests.ml.conftest import make_version
from tests.ml.tampering import replace_file
from tests.ml.test_tracking import client

DIGEST = "0123456789abcdef" * 4
RUN = "0a" * 16
NAN = float("nan")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder whose registry holds version 1.

    It is made once, as the first use of a database takes seconds.
    """
    folder = tmp_path_factory.mktemp("registry") / "var"
    folder.mkdir()
    version = make_version(folder.parent / "first", title="the first")
    Registry(uri(folder)).register(version.folder)
    return folder


@pytest.fixture
def moved(data_dir: Path, tmp_path: Path) -> Path:
    """A copy of the state folder elsewhere; MLflow's rows still name the first place."""
    return Path(shutil.copytree(data_dir, tmp_path / "moved"))


def uri(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def add(
    folder: Path,
    *,
    run: bool = True,
    source: str = "",
    metrics: dict[str, float] | None = None,
    **tags: str,
) -> int:
    """Register an entry, as anybody who reaches the registry can; return its number."""
    mlflow = client(uri(folder))
    run_id = ""
    if run:
        run_id = mlflow.create_run(mlflow.get_experiment_by_name(NAME).experiment_id).info.run_id
        for key, value in (metrics or {}).items():
            mlflow.log_metric(run_id, key, value)
    source = source or f"mlflow-artifacts:/{run_id}/artifacts/version"
    return int(mlflow.create_model_version(NAME, source, run_id or None, tags=tags).version)


GOOD = {"digest": DIGEST, "title": "odd", "vocabulary_size": "35"}
# What is wrong → the reason that is given, and how to make it.
ODD: dict[str, tuple[str, dict[str, Any]]] = {
    "no run": ("no run", {**GOOD, "run": False, "source": "mlflow-artifacts:/x/artifacts/version"}),
    "NaN metric": (
        "metric 'validation_nats_per_char' is no sensible",
        {**GOOD, "metrics": {"validation_nats_per_char": float("nan")}},
    ),
    "huge metric": ("metric 'chars' is no sensible number", {**GOOD, "metrics": {"chars": 1e300}}),
    "no digest": ("no tag 'digest'", {"title": "odd", "vocabulary_size": "35"}),
    "short digest": ("64 hexadecimal digits", {**GOOD, "digest": DIGEST[:-1]}),
    "path as digest": ("64 hexadecimal digits", {**GOOD, "digest": "../" * 21 + "a"}),
    "capital digest": ("64 hexadecimal digits", {**GOOD, "digest": DIGEST.upper()}),
    "no vocabulary": ("no tag 'vocabulary_size'", {"digest": DIGEST, "title": "odd"}),
    "worded vocabulary": ("no tag 'vocabulary_size'", {**GOOD, "vocabulary_size": "many"}),
    "long title": ("title is not one line", {**GOOD, "title": "x" * 201}),
    "source elsewhere": ("outside of the registry's artefacts", {**GOOD, "source": "/etc"}),
    "source by another way": (
        "no folder of the registry's artefacts",
        {**GOOD, "source": "http://127.0.0.1:9/x"},
    ),
}


def test_an_invalid_entry_names_its_problem_and_hides_no_other(moved: Path) -> None:
    numbers = {
        add(moved, **fields): name  # type: ignore[arg-type]
        for name, (_, fields) in ODD.items()
    }
    found = {version.version: version for version in Registry(uri(moved)).versions()}
    assert sorted(found) == [1, *sorted(numbers)]
    assert (found[1].problem, found[1].title) == ("", "the first")
    for number, name in numbers.items():
        assert ODD[name][0] in found[number].problem, name
        with pytest.raises(
            VersionRefused, match=f"version {number} of the registry cannot be used"
        ):
            Registry(uri(moved)).version(number)


def test_of_a_run_with_too_many_values_only_the_first_are_read(moved: Path) -> None:
    from mlflow.entities import Metric, Param

    mlflow = client(uri(moved))
    run_id = mlflow.create_run(mlflow.get_experiment_by_name(NAME).experiment_id).info.run_id
    for first in range(0, 300, 100):
        mlflow.log_batch(
            run_id, params=[Param(f"p{first + i:03}", "x" * 5_000) for i in range(100)]
        )
    mlflow.log_batch(run_id, metrics=[Metric(f"m{i:03}", float(i), 1, 0) for i in range(300)])
    number = int(
        mlflow.create_model_version(
            NAME, f"mlflow-artifacts:/{run_id}/artifacts/version", run_id, tags=GOOD
        ).version
    )
    version = Registry(uri(moved)).version(number)
    assert (len(version.parameters), len(version.metrics)) == (200, 200)
    assert {len(value) for value in version.parameters.values()} == {500}


def test_more_versions_than_one_page_holds(moved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.versions.registry._PAGE", 2)
    numbers = [add(moved, **GOOD) for _ in range(4)]
    assert [version.version for version in Registry(uri(moved)).versions()] == [1, *numbers]


def test_a_missing_version_is_reported_as_missing_not_as_a_failure(
    moved: Path, tmp_path: Path
) -> None:
    registry = Registry(uri(moved))
    for ask in (
        lambda: registry.version(9),
        lambda: registry.set_champion(9),
        lambda: registry.fetch(9, tmp_path / "x"),
    ):
        with pytest.raises(NotInRegistry, match=r"^version 9 is not in the registry$"):
            ask()
    shutil.rmtree(moved / "mlartifacts")
    with pytest.raises(VersionError, match="there is no version folder"):
        registry.fetch(1, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(9, 4, "error: version 9 is not in the registry"), (2, 3, "no tag 'digest'")],
)
def test_the_command_says_whether_to_try_again(
    moved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    code: int,
    said: str,
) -> None:
    add(moved, title="odd")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri(moved))
    with pytest.raises(SystemExit) as ended:
        main(["fetch", "--version", str(number), "--out", str(tmp_path / "out")])
    assert ended.value.code == code
    assert said in capsys.readouterr().err


def test_a_database_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1_000)
    with pytest.raises(
        RegistryError, match=r"^the model registry could not list the versions: [^\n]+$"
    ):
        Registry(uri(tmp_path)).versions()


def test_a_moved_folder_has_all_versions_and_the_old_place_stays_empty(
    data_dir: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old" / "var"
    shutil.copytree(data_dir, old)
    as_it_was_written_once = f"file://{old}/mlartifacts/{RUN}/artifacts/version"
    second = make_version(tmp_path / "second", seed=2)
    shutil.copytree(second.folder, old / "mlartifacts" / RUN / "artifacts" / "version")
    number = add(old, source=as_it_was_written_once, **{**GOOD, "digest": second.digest})
    new = tmp_path / "new"
    old.rename(new)
    old.parent.rmdir()

    registry = Registry(uri(new))
    assert registry.fetch(1, new / "versions" / "one").digest == registry.version(1).digest
    assert registry.fetch(number, new / "versions" / "two").digest == second.digest
    third = registry.register(make_version(tmp_path / "third", seed=3).folder)
    assert registry.fetch(third.version, new / "versions" / "three").digest == third.digest
    tracker = Tracker(uri(new), tmp_path)
    tracker.begin({}, [])
    tracker._artifacts[second.folder / "samples.txt"] = "samples"
    tracker.end("FINISHED")
    assert (new / "mlartifacts" / tracker.run_id / "artifacts" / "samples" / "samples.txt").exists()
    assert not old.parent.exists()
    assert not any(
        str(tmp_path) in version.source
        for version in registry.versions()
        if version.version != number
    )


def test_links_and_devices_among_the_files_are_not_followed(moved: Path, tmp_path: Path) -> None:
    (source,) = (moved / "mlartifacts").glob("*/artifacts/version")
    (source / "samples.txt").unlink()
    (source / "samples.txt").symlink_to("/dev/zero")
    with pytest.raises(VersionError, match=r"samples\.txt is not a regular file"):
        Registry(uri(moved)).fetch(1, tmp_path / "x")


def test_the_second_copy_is_never_moved_into_the_first(version: Version, tmp_path: Path) -> None:
    folder = tmp_path / "digest"
    for name in ("first", "second"):
        _put(
            Path(shutil.copytree(version.folder, tmp_path / name)), folder, aside=tmp_path / "aside"
        )
    assert read_version(folder).digest == version.digest
    assert not (tmp_path / "aside").exists()


def _cut(folder: Path) -> None:
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])


HALVES: dict[str, Callable[[Path], object]] = {
    "a file is missing": lambda folder: (folder / "step.onnx").unlink(),
    "a file is cut off": _cut,
    "model.json is cut off": lambda folder: (folder / "model.json").write_text('{"format"'),
    "a second copy lies in it": lambda folder: shutil.copytree(folder, folder / "version"),
    "nothing is in it": lambda folder: [path.unlink() for path in folder.iterdir()],
}


@pytest.mark.parametrize("what", list(HALVES))
def test_half_a_folder_is_fetched_again(moved: Path, tmp_path: Path, what: str) -> None:
    folder = tmp_path / "versions" / "digest"
    Registry(uri(moved)).fetch(1, folder)
    assert is_complete(folder)
    HALVES[what](folder)
    assert not is_complete(folder)
    Registry(uri(moved)).fetch(1, folder)
    assert is_complete(folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_invalid_losses_are_refused_before_anything_is_registered(
    moved: Path, tmp_path: Path
) -> None:
    version = make_version(tmp_path / "bad", seed=4)
    replace_file(version.folder, "metrics.csv", b"chars,validation_nats_per_char\nmany,few\n")
    with pytest.raises(VersionError, match=r"metrics\.csv is not a table of losses"):
        Registry(uri(moved)).register(version.folder)
    assert len(list((moved / "mlartifacts").iterdir())) == 1
