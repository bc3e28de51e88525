"""`manage.py up`: start every process, report restarts, and stop everything on Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections
from redis.exceptions import RedisError

from generator import clock
from generator.models import ModelVersion
from generator.operations import addresses, health, own_redis, processes, state_folder
from generator.operations.state_folder import NotPossible
from generator.operations.supervision import Supervisor
from generator.redis_store import clients

START_PATIENCE = 180.0  # seconds; a slow machine reads models from a cold disk at its first start
START_EXITS = 3  # a process that ends this often during the start will not come up by itself
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop(Exception):
    """A signal asked us to stop."""


class Command(BaseCommand):
    """A failed start prints one sentence to stderr and exits with code 1."""

    help = "Start every process under supervisord and wait until all are ready."
    requires_system_checks = ()  # prestart runs them

    def handle(self, *args: Any, **options: Any) -> None:
        for number in STOPPING:
            # nohup lets SIGHUP be ignored, and so do we.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _stop)
        try:
            self._run(settings.DATA_DIR, settings.HOST, settings.PORT)
        except NotPossible as error:
            sys.exit(str(error))
        except Stop:
            self.stdout.write("Stopped.")

    def _run(self, data_dir: Path, host: str, port: int) -> None:
        address = f"{addresses.url(host, port)}{settings.BASE_PATH.removeprefix('/')}"
        _check_folder(data_dir)
        with state_folder.lock(data_dir, address) as lock_file:
            if problem := addresses.port_problem(host, port):
                raise NotPossible(problem)
            server = self._choose_redis(data_dir)
            self._prestart()
            environment = processes.environment(
                os.environ,
                data_dir=data_dir,
                host=host,
                port=port,
                max_streams=settings.ENGINE_MAX_STREAMS,
                redis_server=server,
            )
            started = clock.now()
            supervisor = Supervisor(environment, data_dir, lock_file)
            try:
                self._wait_until_ready(supervisor, started)
                self.stdout.write(
                    f"\nReady at {address} (logs in {supervisor.logs}; Ctrl-C stops everything)\n"
                )
                self.stdout.flush()
                self._watch(supervisor)
            finally:
                for number in STOPPING:  # a second Ctrl-C must not interrupt the stop
                    signal.signal(number, signal.SIG_IGN)
                supervisor.stop()

    def _choose_redis(self, data_dir: Path) -> str:
        """Return the binary to start, or an empty string if the server of REDIS_URL answers."""
        if not os.environ.get("REDIS_URL", "").strip():
            server = own_redis.find_server()
            own_redis.prepare(data_dir)
            self.stdout.write(f"✓ redis         {server}, for this copy alone")
            return server
        try:
            clients.ping()
        except (RedisError, OSError, ValueError) as error:
            raise NotPossible(
                f"The Redis server of REDIS_URL does not answer ({error}); "
                "start it, or leave REDIS_URL empty."
            ) from None
        self.stdout.write("✓ redis         that of REDIS_URL")
        return ""

    def _prestart(self) -> None:
        try:
            call_command("prestart", stdout=self.stdout)
        except DatabaseError as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise NotPossible(
                f"The database cannot be used ({first}); correct DATABASE_URL or start it."
            ) from None
        except CommandError as error:
            raise NotPossible(str(error).strip()) from None
        finally:
            connections.close_all()

    def _wait_until_ready(self, supervisor: Supervisor, started: datetime) -> None:
        """Print each check as it passes. Raises NotPossible if a process does not come up."""
        seen: set[str] = set()
        exits: Counter[str] = Counter()
        deadline = time.monotonic() + START_PATIENCE
        while True:
            waiting = self._print_new(seen, started)
            if not waiting:
                return
            exits.update(program for program, _ in supervisor.exits())
            failing = [program for program, count in exits.items() if count >= START_EXITS]
            if failing or supervisor.ended or time.monotonic() > deadline:
                raise NotPossible(_why_not(supervisor, failing, waiting))
            time.sleep(0.4)

    def _print_new(self, seen: set[str], started: datetime) -> list[str]:
        """Print the checks that pass for the first time; return sentences about those that fail."""
        waiting = []
        for check in _checks(started):
            if not check.ok:
                waiting.append(f"{check.name} {check.found}")
            elif check.name not in seen:
                seen.add(check.name)
                self.stdout.write(f"✓ {check.name:<14}{check.found}")
                self.stdout.flush()
        return waiting

    def _watch(self, supervisor: Supervisor) -> None:
        """Report restarted programs. Raises NotPossible when supervisord ends, Stop on a signal."""
        while not supervisor.ended:
            for program, how in supervisor.exits():
                log = supervisor.logs / f"{program}.log"
                self.stdout.write(f"{program} ended ({how}) and is started again; see {log}")
                self.stdout.flush()
            supervisor.end_orphans()
            time.sleep(1)
        log = supervisor.logs / "supervisord.log"
        raise NotPossible(f"supervisord ended, so everything was stopped; its log is {log}.")


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stop


def _check_folder(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        raise NotPossible(
            f"DATA_DIR {data_dir} cannot be written ({error.strerror}); choose another folder."
        ) from None


def _checks(started: datetime) -> Iterator[health.Check]:
    """Yield the web process's own checks, and the heartbeats of the processes of this start."""
    status, body = addresses.get(settings.HOST, settings.PORT, "/readyz", settings.ALLOWED_HOSTS)
    answers = status in (200, 503)
    yield health.Check("web", answers, "answers" if answers else "does not answer yet")
    told = json.loads(body)["checks"] if answers else []
    yield from (health.Check(**check) for check in told if check["name"] in ("database", "redis"))
    yield health.housekeeping(started)
    yield health.worker(started)
    if ModelVersion.objects.filter(is_live=True).exists():  # without one the site starts, too
        yield health.model_loaded(started)


def _why_not(supervisor: Supervisor, failing: list[str], waiting: list[str]) -> str:
    if not failing:
        return f"Not everything came up: {'; '.join(waiting)}. The logs are in {supervisor.logs}."
    tails = "".join(
        f"--- {supervisor.logs / program}.log\n{supervisor.log_tail(program)}\n"
        for program in failing
    )
    return (
        f"{tails}{', '.join(failing)} did not start; the end of the log is above, "
        "and `python manage.py doctor` may say more."
    )
