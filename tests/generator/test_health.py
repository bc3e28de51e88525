"""The checks behind doctor, /healthz and /readyz."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.utils import OperationalError
from django.test import Client
from django.utils import timezone

from generator.models import ModelVersion, Worker
from generator.operations import health

DIGEST = "d" * 64


@pytest.fixture
def live(db: None) -> ModelVersion:
    """A live version whose files are nowhere."""
    now = timezone.now()
    return ModelVersion.objects.create(
        name="charrnn",
        version=1,
        digest=DIGEST,
        vocabulary_size=90,
        created_at=now,
        synced_at=now,
        is_live=True,
    )


def heartbeat(
    name: str,
    age: float = 0,
    versions: list[str] | None = None,
    consumes: bool = True,
    role: Worker.Role = Worker.Role.WORKER,
) -> None:
    """A process that was seen `age` seconds ago."""
    seen = timezone.now() - timedelta(seconds=age)
    loaded = versions or []
    Worker.objects.create(
        id=name,
        role=role,
        host="h",
        pid=1,
        started_at=seen,
        last_seen=seen,
        versions_loaded=loaded,
        consumes=consumes,
    )


def found(name: str) -> health.Check:
    """The named check of a whole look."""
    return next(check for check in health.checks() if check.name == name)


def test_a_migrated_database_is_fine(db: None) -> None:
    assert health.database() == health.Check("database", True, f"{connection.vendor}, migrated")


def test_missing_migrations_are_named_with_the_remedy(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        health.MigrationExecutor, "migration_plan", lambda *_: [("a", False), ("b", False)]
    )
    check = health.database()
    assert (check.ok, check.found) == (False, "2 migrations are missing")
    assert "prestart" in check.advice


def test_a_database_that_is_away_leaves_the_rest_unknown(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("connection refused\nIs the server running?")

    monkeypatch.setattr(health, "MigrationExecutor", away)
    assert found("database").found == "not reachable: connection refused"
    assert found("worker").found == "unknown without the database"


def test_redis_that_does_not_answer_is_reported(db: None) -> None:
    check = health.redis()
    assert not check.ok
    assert check.found.startswith("not reachable")


def test_no_live_version(db: None) -> None:
    assert health.model().found == "no version is live"


def test_a_live_version_without_files(live: ModelVersion) -> None:
    assert not health.model().ok
    assert "files are missing" in health.model().found


def test_files_in_the_state_folder_are_enough(
    live: ModelVersion, settings: Any, tmp_path: Path
) -> None:
    settings.VERSIONS_DIR = tmp_path
    (tmp_path / DIGEST).mkdir()
    (tmp_path / DIGEST / "model.json").touch()
    assert health.model().ok


def test_files_loaded_by_a_worker_elsewhere_are_enough(live: ModelVersion) -> None:
    heartbeat("other-machine", versions=[DIGEST])
    assert health.model().ok


def test_a_worker_is_alive_until_it_has_been_silent_for_too_long(db: None, settings: Any) -> None:
    heartbeat("worker-1", age=settings.WORKER_SILENT + 1)
    assert not health.worker().ok
    heartbeat("worker-2", age=settings.WORKER_SILENT / 2)
    assert health.worker().found == "1 alive"


def test_a_worker_counts_only_while_it_takes_texts(live: ModelVersion) -> None:
    heartbeat("starting", versions=[DIGEST], consumes=False)
    assert health.worker().found.startswith("1 alive, and none takes texts")
    assert not health.worker().ok
    assert not health.model_loaded().ok
    heartbeat("ready", versions=[DIGEST])
    assert health.worker().found == "1 alive"
    assert health.model_loaded().ok


def test_the_heartbeat_of_an_earlier_start_does_not_count(db: None) -> None:
    heartbeat("worker-1", age=5)
    assert not health.worker(timezone.now() - timedelta(seconds=1)).ok
    assert health.worker(timezone.now() - timedelta(seconds=9)).ok


def test_housekeeping_does_not_count_as_a_worker(db: None) -> None:
    heartbeat("housekeeping-h", role=Worker.Role.HOUSEKEEPING)
    assert health.housekeeping().ok
    assert not health.worker().ok


def test_a_worker_is_not_housekeeping_whatever_its_host_is_called(db: None) -> None:
    heartbeat("housekeeping-1")
    assert health.worker().ok
    assert not health.housekeeping().ok


def test_a_start_is_complete_when_the_live_version_is_in_memory(live: ModelVersion) -> None:
    heartbeat("worker-1", versions=["other"])
    assert not health.model_loaded().ok
    heartbeat("worker-2", versions=[DIGEST])
    assert health.model_loaded().ok


def test_healthz_checks_nothing(client: Client) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_readyz_says_what_is_missing_without_advice_and_addresses(db: None, client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    checks = {check["name"]: check for check in answer.json()["checks"]}
    assert answer.json()["ready"] is False
    assert checks["redis"] == {"name": "redis", "ok": False, "found": "not reachable"}
    assert list(checks) == ["database", "redis", "model", "worker", "housekeeping"]


def test_readyz_is_200_when_everything_works(
    live: ModelVersion, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "redis", lambda: health.Check("redis", True, "answers"))
    heartbeat("worker-1", versions=[DIGEST])
    heartbeat("housekeeping-h", role=Worker.Role.HOUSEKEEPING)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_both_are_never_cached_and_accept_only_reads(db: None, client: Client, path: str) -> None:
    assert "no-store" in client.get(path).headers["Cache-Control"]
    assert client.post(path).status_code == 405


def test_doctor_ends_with_1_and_says_what_to_do(db: None) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("doctor", stdout=(output := StringIO()))
    assert ended.value.code == 1
    assert "✓ database" in output.getvalue()
    assert "✗ worker" in output.getvalue()
    assert "→ Start everything with: make run" in output.getvalue()


def test_doctor_prints_json(db: None) -> None:
    with pytest.raises(SystemExit):
        call_command("doctor", "--json", stdout=(output := StringIO()))
    checks = json.loads(output.getvalue())
    assert {"name", "ok", "found", "advice"} == set(checks[0])
    assert any(check["name"] == "redis" and not check["ok"] for check in checks)
