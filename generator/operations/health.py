"""Checks of whether everything works, for `manage.py doctor`, `manage.py up` and monitoring."""

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

REGISTRY_SILENT = timedelta(seconds=20)  # housekeeping asks every ten
RESTARTED = "It is restarted automatically. If this does not help, its log in {logs} says why."


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, whether it works, what was found, and what to do if it does not work."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def checks(since: datetime | None = None) -> Iterator[Check]:
    """Yield every check, in the order in which to repair things.

    Heartbeats from before `since` do not count. It is a moment of generator/clock.py.
    """
    yield (base := database())
    yield redis()
    needing_rows: dict[str, Callable[[], Check]] = {
        "model": model,
        "worker": partial(worker, since),
        "housekeeping": partial(housekeeping, since),
    }
    for name, check in needing_rows.items():
        if base.ok:
            yield check()
        else:
            yield Check(name, False, "unknown without the database", "Repair the database first.")


def database() -> Check:
    """Check that the database is reachable, with every migration applied."""
    try:
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except (DatabaseError, OSError) as error:
        found = f"not reachable: {_first_line(error)}"
        return Check("database", False, found, "Start it, or correct DATABASE_URL.")
    if waiting:
        found = f"{len(waiting)} migrations are missing"
        return Check("database", False, found, "Run: python manage.py prestart")
    return Check("database", True, f"{connection.vendor}, migrated")


def redis() -> Check:
    """Check that Redis answers a ping within a second."""
    try:
        clients.ping()
    except (RedisError, OSError, ValueError) as error:
        advice = "Start everything with: make run, or correct REDIS_URL."
        return Check("redis", False, f"not reachable: {_first_line(error)}", advice)
    return Check("redis", True, "answers")


def model() -> Check:
    """Check that a version is live, with its files here or loaded by a worker elsewhere."""
    live = ModelVersion.objects.filter(is_live=True).first()
    if live is None:
        advice = "Run: python manage.py register_bundled, or choose one in /admin/."
        return Check("model", False, "no version is live", advice)
    here = (settings.VERSIONS_DIR / live.digest / "model.json").is_file()
    if here or any(live.digest in row.versions_loaded for row in heartbeats.alive(Role.WORKER)):
        return Check("model", True, f"{live} is live, its files are in place")
    found = f"{live} is live, but its files are missing"
    return Check("model", False, found, "Start a worker: it fetches them.")


def model_loaded(since: datetime | None = None) -> Check:
    """Check that a worker has the live version in memory, so that no visitor waits for it."""
    ready = _alive(Role.WORKER, since).filter(consumes=True)
    loaded = [digest for row in ready for digest in row.versions_loaded]
    live = ModelVersion.objects.filter(is_live=True).first()
    if live and live.digest in loaded:
        return Check("model", True, f"{live} is loaded")
    advice = RESTARTED.format(logs=settings.DATA_DIR / "logs" / "worker.log")
    return Check("model", False, "the live version is not loaded yet", advice)


def worker(since: datetime | None = None) -> Check:
    """Check that at least one worker has a recent heartbeat and takes texts."""
    alive = _alive(Role.WORKER, since)
    if count := alive.filter(consumes=True).count():
        return Check("worker", True, f"{count} alive")
    advice = RESTARTED.format(logs=settings.DATA_DIR / "logs" / "worker.log")
    if count := alive.count():
        found = f"{count} alive, and none takes texts: starting, stopping, or without Redis"
        return Check("worker", False, found, advice)
    found = f"none gave a sign of life for {settings.WORKER_SILENT:.0f} seconds"
    return Check("worker", False, found, advice)


def housekeeping(since: datetime | None = None) -> Check:
    """Check that housekeeping has a recent heartbeat."""
    if _alive(Role.HOUSEKEEPING, since).exists():
        return Check("housekeeping", True, "alive")
    advice = RESTARTED.format(logs=settings.DATA_DIR / "logs" / "housekeeping.log")
    found = f"gave no sign of life for {settings.WORKER_SILENT:.0f} seconds"
    return Check("housekeeping", False, found, advice)


def registry(silent: timedelta = REGISTRY_SILENT) -> Check:
    """Check that the registry answered housekeeping within `silent`, without asking it now.

    Texts do not depend on it, so `checks` leaves it out.
    """
    answered = ModelVersion.objects.aggregate(last=Max("synced_at"))["last"]
    if answered and clock.now() - answered < silent:
        return Check("registry", True, "answers")
    found = "has not answered yet"
    if answered:
        found = f"has not answered since {answered:%d %B %Y, %H:%M:%S} UTC"
    asking = housekeeping()
    advice = "Start it, or correct MLFLOW_TRACKING_URI."
    if not asking.ok:
        advice = f"Housekeeping, which asks it, {asking.found}."
    return Check("registry", False, found, advice)


def _alive(role: Role, since: datetime | None) -> QuerySet[Worker]:
    alive = heartbeats.alive(role)
    return alive.filter(last_seen__gte=since) if since else alive


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
