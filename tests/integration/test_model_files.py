"""Two workers fetch versions, in a data folder that was moved after they were registered."""

from __future__ import annotations

import contextlib
import hashlib
import html
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from generator.operations import processes
from tests.environment import isolated_environment
from tests.faults.harness import NO_LIMITS
from tests.integration.fetches import Fetches
from tests.integration.test_promotion import ADMIN, last_entry, live, make_live
from tests.integration.test_registry import UNAVAILABLE, VERSIONS
from tests.integration.test_stream import export
from tests.ml.conftest import make_version
from tests.stack import EVERYTHING, Stack, wait_until
from tests.visitor import Visitor

ENDED = ("done", "cancelled", "failed")
TOLD = "SELECT id, version, digest, title, problem, files_problem FROM generator_modelversion"


@pytest.fixture(scope="module")
def old_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the registry's rows name; it does not exist any more."""
    return tmp_path_factory.mktemp("moved") / "before"


@pytest.fixture(scope="module")
def site(prepared: Path, old_place: Path) -> Iterator[Stack]:
    """The product in a moved folder; MLflow's rows have absolute paths into the old one."""
    data_dir = Path(shutil.copytree(prepared, old_place.parent / "var"))
    with contextlib.closing(sqlite3.connect(data_dir / "mlflow.db")) as database, database:
        for table, column in (
            ("model_versions", "source"),
            ("runs", "artifact_uri"),
            ("experiments", "artifact_location"),
        ):
            absolute = f"file://{old_place}/mlartifacts/"
            database.execute(
                f"UPDATE {table} SET {column} = replace({column}, 'mlflow-artifacts:/', ?)",
                (absolute,),
            )
    with Stack(data_dir, NO_LIMITS) as running:
        yield running.start(*EVERYTHING, "worker-2")


@pytest.fixture(scope="module")
def admin(site: Stack) -> Visitor:
    site.manage("shell", "-c", ADMIN)
    admin = site.visitor()
    admin.post("/admin/login/?next=/admin/", {"username": "root", "password": "a-long-enough-one"})
    return admin


@pytest.fixture(scope="module")
def mlflow(site: Stack) -> Any:
    from mlflow.tracking import MlflowClient

    address = f"sqlite:///{site.data_dir / 'mlflow.db'}"
    return MlflowClient(address, address)


def unloaded(site: Stack) -> dict[str, Any]:
    """Remove the files of a bundled version that is not live, and return its row."""
    row = site.rows(f"{TOLD} WHERE NOT is_live AND version <= 3 ORDER BY version DESC")[0]
    shutil.rmtree(site.data_dir / "versions" / row["digest"], ignore_errors=True)
    return row


def register(site: Stack, title: str, seed: int) -> dict[str, Any]:
    """Register a small version by the command line, and return its row once it is mirrored."""
    folder = make_version(site.data_dir.parent / title, seed=seed, title=title).folder
    command = [sys.executable, "-m", "ml", "register", str(folder)]
    environment = isolated_environment(site.data_dir) | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{site.data_dir / 'mlflow.db'}"
    }
    subprocess.run(
        command, env=environment, cwd=processes.HOME, check=True, capture_output=True, timeout=120
    )
    return row_of(site, title)


def row_of(site: Stack, title: str) -> dict[str, Any]:
    found: dict[str, Any] = wait_until(
        lambda: site.rows(f"{TOLD} WHERE title = ?", title), f"{title} is mirrored"
    )[0]
    return found


@contextlib.contextmanager
def frozen_housekeeping(site: Stack) -> Iterator[None]:
    """Freeze housekeeping, so that it does not notice a change."""
    site.freeze("housekeeping")
    try:
        yield
    finally:
        site.send("housekeeping", signal.SIGCONT)


def ended(visitor: Visitor, generation_id: str, patience: float = 60) -> dict[str, Any]:
    wait_until(lambda: export(visitor, generation_id)["state"] in ENDED, "the text ends", patience)
    return export(visitor, generation_id)


def test_twelve_texts_of_a_version_without_files_start_one_fetch(site: Stack) -> None:
    version, visitor = unloaded(site), site.visitor()
    versions = site.data_dir / "versions"
    with Fetches(versions) as fetches:
        texts = [visitor.submit(length=30, version=version["version"])["id"] for _ in range(12)]
        assert {ended(visitor, text)["state"] for text in texts} == {"done"}
    assert len(fetches.pids) == 1
    assert {export(visitor, text)["attempt"] for text in texts} == {1}
    assert [
        path.name for path in versions.iterdir() if path.name.startswith(f".{version['digest']}")
    ] == [f".{version['digest']}.lock"]


def test_a_killed_fetch_does_not_block_the_next(site: Stack) -> None:
    version, visitor = unloaded(site), site.visitor()
    folder = site.data_dir / "versions" / version["digest"]
    for name in ("worker", "worker-2"):  # so that neither has it in memory
        site.restart(name, signal.SIGKILL)
    folder.mkdir()
    (folder / "model.json").write_text('{"half of it')  # as an interrupted copy leaves it
    with Fetches(folder.parent) as fetches:
        text = visitor.submit(length=30, version=version["version"])["id"]
        wait_until(lambda: fetches.pids, "a worker fetches", 30)
        for name in ("worker", "worker-2"):
            site.kill(name)
    left = folder.parent / f".{version['digest']}-left"
    left.mkdir()
    site.start("worker", "worker-2")
    assert ended(visitor, text)["state"] == "done"
    assert sorted(path.name for path in folder.iterdir()) == [
        "metrics.csv",
        "model.json",
        "samples.txt",
        "step.onnx",
        "weights.safetensors",
    ]
    assert not left.exists()


def test_in_a_moved_folder_a_version_can_be_made_live_and_another_registered(
    site: Stack, admin: Visitor, old_place: Path
) -> None:
    version = unloaded(site)
    page = make_live(admin, version["id"])
    wait_until(lambda: last_entry(site)["outcome"] != "requested", "housekeeping answers", 60)
    assert (last_entry(site)["outcome"], live(site)) == ("done", version["version"]), page
    tiny, visitor = register(site, "registered after the move", 5), site.visitor()
    assert (
        ended(visitor, visitor.submit(length=30, version=tiny["version"])["id"])["state"] == "done"
    )
    assert not old_place.exists()


def test_a_text_of_a_deleted_version_fails_at_once_and_the_version_is_not_offered(
    site: Stack, admin: Visitor, mlflow: Any
) -> None:
    version, visitor = register(site, "soon gone", 6), site.visitor()
    number = version["version"]
    with frozen_housekeeping(site):  # it would notice the deletion too soon
        mlflow.delete_model_version("charrnn", str(number))
        text = ended(visitor, visitor.submit(length=30, version=number)["id"])
    assert (text["state"], text["attempt"]) == ("failed", 1)
    assert text["error"] == f"Version {number} is not in the registry."
    wait_until(
        lambda: f'value="{number}"' not in visitor.get("/").text,
        "the desk does not offer it any more",
        30,
    )
    refused = visitor.ask(prompt="x", version=number)
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["version"])
    page = make_live(admin, version["id"])
    assert re.search(f"was not made live: (<[^>]*>)?version {number} is not in the registry", page)
    assert UNAVAILABLE not in page
    assert "unreadable: it is not in the registry any more" in admin.get(VERSIONS).text


def test_a_version_without_files_in_the_registry_has_a_plain_error_message(
    site: Stack, admin: Visitor
) -> None:
    version, visitor = register(site, "without files", 7), site.visitor()
    number = version["version"]
    (source,) = sources(site, version["digest"])
    with frozen_housekeeping(site), Fetches(site.data_dir / "versions") as fetches:
        shutil.rmtree(source)
        ids = [visitor.submit(length=30, version=number)["id"] for _ in range(4)]
        texts = [ended(visitor, text) for text in ids]
    assert {(text["state"], text["attempt"]) for text in texts} == {("failed", 1)}
    assert {text["error"] for text in texts} == {
        f"The files of version {number} are missing or damaged."
    }
    assert len(fetches.pids) == 1
    assert site.rows(f"{TOLD} WHERE version = ?", number)[0]["files_problem"]
    assert f'value="{number}"' not in visitor.get("/").text
    page = make_live(admin, version["id"])
    assert "was not made live" in page
    assert "there is no version folder" in html.unescape(page)


def sources(site: Stack, digest: str) -> list[Path]:
    """Return the folders of a version's files in the registry."""
    found = (site.data_dir / "mlartifacts").glob("*/artifacts/version/model.json")
    return [
        path.parent for path in found if hashlib.sha256(path.read_bytes()).hexdigest() == digest
    ]


def test_invalid_registry_entries_disturb_nothing_and_cannot_be_made_live(
    site: Stack, admin: Visitor, mlflow: Any
) -> None:
    before = live(site)
    good = {"digest": "ab" * 32, "vocabulary_size": "35"}
    run = mlflow.create_run(mlflow.get_experiment_by_name("charrnn").experiment_id).info.run_id
    mlflow.log_metric(run, "validation_nats_per_char", float("nan"))
    source = f"mlflow-artifacts:/{run}/artifacts/version"

    def add(title: str, run_id: str | None, **tags: str) -> str:
        created = mlflow.create_model_version(
            "charrnn", source, run_id, tags={"title": title, **tags}
        )
        return str(created.version)

    nan = add("NaN", run, **good)
    alone = add("alone", None, **good)
    bare = add("bare", run)
    wrong = add("wrong", run, digest="../" * 21 + "a", vocabulary_size="35")
    tiny = register(site, "after the odd ones", 8)
    listed = html.unescape(admin.get(VERSIONS).text)
    for reason in (
        "is no sensible number",
        "it has no run",
        "it has no tag 'digest'",
        "is no SHA-256 of 64 hexadecimal",
    ):
        assert re.search(f"unreadable: [^<]*{re.escape(reason)}", listed), reason
    offered = site.visitor().get("/").text
    assert f'value="{tiny["version"]}"' in offered
    assert not [number for number in (nan, alone, bare, wrong) if f'value="{number}"' in offered]

    mlflow.set_registered_model_alias("charrnn", "champion", nan)
    wait_until(
        lambda: last_entry(site)["to_version_id"] == row_of(site, "NaN")["id"],
        "the ledger names it",
        40,
    )
    assert last_entry(site)["outcome"] == "refused"
    assert "is no sensible number" in last_entry(site)["evidence"]
    mlflow.delete_registered_model_alias("charrnn", "champion")
    mlflow.set_registered_model_alias("charrnn", "best", str(tiny["version"]))
    mlflow.delete_model_version("charrnn", bare)
    wait_until(
        lambda: "not in the registry" in row_of(site, "bare")["problem"],
        "the mirror goes on without a champion",
        40,
    )
    assert live(site) == before
    mlflow.set_registered_model_alias("charrnn", "champion", str(before))

    mlflow.set_model_version_tag("charrnn", str(tiny["version"]), "digest", "cd" * 32)
    wait_until(
        lambda: "its digest was changed" in admin.get(VERSIONS).text,
        "the admin names the changed digest",
        40,
    )
    page = make_live(admin, tiny["id"])
    assert f"the digest of version {tiny['version']} was changed in the registry" in page
    assert row_of(site, "after the odd ones")["digest"] == tiny["digest"]
    assert UNAVAILABLE not in page
