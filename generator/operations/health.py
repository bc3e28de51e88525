"""Whether everything works, as sentences: for `manage.py doctor`, for `manage.py up` and for monitoring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Max, QuerySet
from redis.exceptions import RedisError

from generator import clock, heartbeats
from generator.heartbeats import Role
from generator.models import ModelVersion, Worker
from generator.redis_store import clients

REGISTRY_SILENT = timedelta(
    seconds=20
)  # housekeeping asks every ten: an answer has stayed away, and is late by now
RESTARTED = "It is restarted by itself; if this stays, its log in {logs} says why."


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, whether it works, what was found, and what to do when it does not work."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def checks(since: datetime | None = None) -> Iterator[Check]:
    """Yield every check, in the order in which to repair things.

    Heartbeats from before `since`, a moment of generator/clock.py, do not count.
    """
    yield (base := database())
    yield redis()
    needing_rows: dict[str, Callable[[], Check]] = {
        "model": model,
        "worker": partial(worker, since),
        "housekeeping": partial(housekeeping, since),
    }
    for name, check in needing_rows.items():
        yield (
            check()
            if base.ok
            else Check(name, False, "unknown without the database", "Repair the database first.")
        )


def database() -> Check:
    """Reachable, and with every migration applied."""
    try:
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except (DatabaseError, OSError) as error:
        return Check(
            "database",
            False,
            f"not reachable: {_first_line(error)}",
            "Start it, or correct DATABASE_URL.",
        )
    if waiting:
        return Check(
            "database",
            False,
            f"{len(waiting)} migrations are missing",
            "Run: python manage.py prestart",
        )
    return Check("database", True, f"{connection.vendor}, migrated")


def redis() -> Check:
    """Answers a ping within a second."""
    try:
        clients.ping()
    except (RedisError, OSError, ValueError) as error:
        advice = "Start everything with: make run, or correct REDIS_URL."
        return Check("redis", False, f"not reachable: {_first_line(error)}", advice)
    return Check("redis", True, "answers")


def model() -> Check:
    """A version is live, and its files are here or loaded by a worker elsewhere."""
    live = ModelVersion.objects.filter(is_live=True).first()
    if live is None:
        return Check(
            "model",
            False,
            "no version is live",
            "Run: python manage.py register_bundled, or choose one in /admin/.",
        )
    here = (settings.VERSIONS_DIR / live.digest / "model.json").is_file()
    if here or any(live.digest in row.versions_loaded for row in heartbeats.alive(Role.WORKER)):
        return Check("model", True, f"{live} is live, its files are in place")
    return Check(
        "model",
        False,
        f"{live} is live, but its files are missing",
        "Start a worker: it fetches them.",
    )


def model_loaded(since: datetime | None = None) -> Check:
    """A worker holds the live version in memory, so that the next visitor does not wait for it."""
    loaded = [
        digest
        for row in _alive(Role.WORKER, since).filter(consumes=True)
        for digest in row.versions_loaded
    ]
    live = ModelVersion.objects.filter(is_live=True).first()
    if live and live.digest in loaded:
        return Check("model", True, f"{live} is loaded")
    advice = RESTARTED.format(logs=settings.DATA_DIR / "logs" / "worker.log")
    return Check("model", False, "the live version is not loaded yet", advice)


def worker(since: datetime | None = None) -> Check:
    """At least one process that writes text gave a sign of life just now, and takes texts."""
    alive = _alive(Role.WORKER, since)
    if count := alive.filter(consumes=True).count():
        return Check("worker", True, f"{count} alive")
    advice = RESTARTED.format(logs=settings.DATA_DIR / "logs" / "worker.log")
    if count := alive.count():
        return Check(
            "worker",
            False,
            f"{count} alive, and none takes texts: starting, stopping, or without Redis",
            advice,
        )
    return Check(
        "worker",
        False,
        f"none gave a sign of life for {settings.WORKER_SILENT:.0f} seconds",
        advice,
    )


def housekeeping(since: datetime | None = None) -> Check:
    """The process that sends lost work again and mirrors the registry gave a sign of life just now."""
    if _alive(Role.HOUSEKEEPING, since).exists():
        return Check("housekeeping", True, "alive")
    advice = RESTARTED.format(logs=settings.DATA_DIR / "logs" / "housekeeping.log")
    return Check(
        "housekeeping",
        False,
        f"gave no sign of life for {settings.WORKER_SILENT:.0f} seconds",
        advice,
    )


def registry(silent: timedelta = REGISTRY_SILENT) -> Check:
    """The model registry answered housekeeping within `silent`. Nobody is asked now, and texts do not depend on it."""
    answered = ModelVersion.objects.aggregate(last=Max("synced_at"))["last"]
    if answered and clock.now() - answered < silent:
        return Check("registry", True, "answers")
    found = (
        f"has not answered since {answered:%d %B %Y, %H:%M:%S} UTC"
        if answered
        else "has not answered yet"
    )
    asking = housekeeping()
    advice = (
        "Start it, or correct MLFLOW_TRACKING_URI."
        if asking.ok
        else f"Housekeeping, which asks it, {asking.found}."
    )
    return Check("registry", False, found, advice)


def _alive(role: Role, since: datetime | None) -> QuerySet[Worker]:
    alive = heartbeats.alive(role)
    return alive.filter(last_seen__gte=since) if since else alive


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
