"""The product as separate processes on free ports.

Integration, browser and fault tests use it. The command lines are those of deploy/supervisord.conf.
Nothing of the product runs inside the pytest process.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Self

from redis import Redis
from redis.exceptions import RedisError

from generator.operations import addresses, own_redis, processes, supervision
from tests.environment import isolated_environment, manage
from tests.visitor import Visitor

HOST = "127.0.0.1"
EVERYTHING = ("redis", "worker", "housekeeping", "beat", "web")
START_PATIENCE = 60.0
STOP_PATIENCE = 10.0


def wait_until(condition: Callable[[], Any], what: str, patience: float = START_PATIENCE) -> Any:
    """Return the first true value of `condition`; a TimeoutError says what did not happen."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise TimeoutError(f"not within {patience:.0f} s: {what}")


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return (
        int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
        / 1024
    )


class Stack:
    """A running copy of the product in `data_dir`, which `manage.py prestart` has prepared.

    `settings` are environment variables for all processes. `worker-2` is a second worker.
    """

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.port = addresses.free_port()
        self.base_url = f"http://{HOST}:{self.port}"
        self.redis_url = own_redis.prepare(data_dir)
        self.environment = processes.environment(
            isolated_environment(data_dir, settings),
            data_dir=data_dir,
            host=HOST,
            port=self.port,
            max_streams=int((settings or {}).get("ENGINE_MAX_STREAMS", "64")),
            redis_server=own_redis.find_server(),
        )
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, str] = {}  # as SQLite writes moments
        (data_dir / "logs").mkdir(exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *names: str) -> Self:
        """Start processes, each in a group of its own, and wait until they are ready."""
        for name in names:
            self.launch(name)
            if name == "redis":
                self.wait_ready("redis")  # the others would only log that it is away
        self.wait_ready(*names)
        return self

    def launch(self, name: str) -> None:
        """Start a process and do not wait for it."""
        self._started[name] = str(datetime.now(UTC).replace(tzinfo=None))
        with self._log(name).open("ab") as log:
            self._running[name] = _popen(
                processes.command(name, self.environment), self.environment, log
            )

    def stop(self, name: str, number: int = signal.SIGTERM, patience: float = STOP_PATIENCE) -> int:
        """Signal a process and its children, wait for its end, and return its exit code."""
        process = self._running.pop(name)
        self._send(process, number)
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{name} did not end within {patience} s:\n{self.logs(name)}"
            ) from None
        finally:
            self._send(process, signal.SIGKILL)
            process.wait()

    def kill(self, name: str) -> None:
        """End a process and its children without warning."""
        self.stop(name, signal.SIGKILL)

    def send(self, name: str, number: int) -> None:
        """Send a signal, for example SIGCONT, to a process and its children."""
        self._send(self._running[name], number)

    def beside(self, **settings: str) -> Stack:
        """Return a second web process on the same rows and Redis; it has its own port.

        It is not started yet.
        """
        other = copy(self)
        other.port = addresses.free_port()
        other.base_url = f"http://{HOST}:{other.port}"
        other.environment = {**self.environment, "PORT": str(other.port), **settings}
        other._running, other._started = {}, {}
        return other

    @contextlib.contextmanager
    def locked_database(self) -> Iterator[None]:
        """Hold SQLite's write lock, as a long transaction of another process does."""
        file = self.data_dir / "db.sqlite3"
        with contextlib.closing(sqlite3.connect(file, timeout=20, isolation_level=None)) as held:
            held.execute("BEGIN IMMEDIATE")
            yield
            held.execute("ROLLBACK")

    def freeze(self, name: str) -> None:
        """Stop a process with SIGSTOP at a moment when it holds no lock on an SQLite database.

        A lock that it held would stop every other process too.
        """
        with contextlib.ExitStack() as opened:
            for database in (self.data_dir / "db.sqlite3", self.data_dir / "mlflow.db"):
                if database.exists():
                    held = opened.enter_context(
                        contextlib.closing(
                            sqlite3.connect(database, timeout=20, isolation_level=None)
                        )
                    )
                    # Waits for readers too, where a database has no write-ahead log.
                    held.execute("BEGIN EXCLUSIVE")
            self.send(name, signal.SIGSTOP)
            status = Path(f"/proc/{self.pid(name)}/status")
            wait_until(lambda: "State:\tT" in status.read_text(), f"{name} is frozen")

    def restart(self, name: str, number: int = signal.SIGTERM) -> None:
        """Stop a process and start it again, on the same address."""
        self.stop(name, number)
        self.start(name)

    def pid(self, name: str) -> int:
        """Return a process's id."""
        return self._running[name].pid

    def memory(self, name: str) -> float:
        """Return the resident memory of a process in MiB."""
        return resident(self.pid(name))

    def is_running(self, name: str) -> bool:
        """Tell whether a process that was started has not ended."""
        return name in self._running and self._running[name].poll() is None

    def close(self) -> None:
        """Kill every process."""
        for name in list(self._running):
            self.kill(name)

    def logs(self, name: str, lines: int = 40) -> str:
        """Return the last lines of a process's log, for the message of a failed test."""
        return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-lines:])

    def wait_ready(self, *names: str, patience: float = START_PATIENCE) -> None:
        """Wait until the named processes are ready; without names, all that were started."""
        for name in names or tuple(self._running):
            try:
                wait_until(partial(self._is_ready, name), f"{name} is ready", patience)
            except TimeoutError as error:
                raise AssertionError(f"{error}\n{self.logs(name)}") from None

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """Return rows of the database, which is opened read-only."""
        file = (self.data_dir / "db.sqlite3").resolve()
        with contextlib.closing(
            sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=20)
        ) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query, parameters)]

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a management command on this copy."""
        return manage(self.environment, *arguments, check=check)

    def visitor(self) -> Visitor:
        """Return a new visitor."""
        return Visitor(self.base_url)

    def _is_ready(self, name: str) -> bool:
        process = self._running[name]
        if process.poll() is not None:
            raise AssertionError(f"{name} ended with {process.returncode}:\n{self.logs(name)}")
        if name == "redis":
            with contextlib.suppress(RedisError), Redis.from_url(self.redis_url) as client:
                return bool(client.ping())
            return False
        if name == "web":
            return addresses.get(HOST, self.port, "/healthz", [HOST])[0] == 200
        if name == "beat":
            return True  # what it does is seen in housekeeping's heartbeat
        if name == "housekeeping" and "beat" not in self._running:
            return "ready" in self.logs(name)
        if name == "housekeeping":
            seen = "SELECT id FROM generator_worker WHERE role = 'housekeeping' AND last_seen > ?"
            return bool(self.rows(seen, self._started[name]))
        loaded = self.rows(
            "SELECT versions_loaded FROM generator_worker WHERE consumes AND pid = ?", process.pid
        )
        return any(json.loads(row["versions_loaded"]) for row in loaded)

    def _log(self, name: str) -> Path:
        return self.data_dir / "logs" / f"{name}.log"

    @staticmethod
    def _send(process: subprocess.Popen[bytes], number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _popen(
    command: list[str], environment: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=dict(environment),
        cwd=processes.HOME,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # An aborted test run leaves no processes behind. The kernel watches the thread that starts
        # a process, not its process: only the main thread lives as long as the run.
        preexec_fn=_die_with_parent
        if threading.current_thread() is threading.main_thread()
        else None,
    )


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(supervision.SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
