"""The product as separate processes on free ports, with the command lines of deploy/supervisord.conf.

Used by the integration, browser and fault tests. Nothing of the product runs inside the pytest
process.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self

import requests
from redis import Redis
from redis.exceptions import RedisError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from charrnn_site.env import DECLARED
from generator.operations import processes, supervision

HOST = "127.0.0.1"
EVERYTHING = ("redis", "worker", "housekeeping", "beat", "web")
START_PATIENCE = 60.0
STOP_PATIENCE = 10.0


def isolated_environment(
    data_dir: Path, settings: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the environment of a copy of its own: no variable of the developer's shell or .env reaches it."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in {*DECLARED, "DJANGO_SETTINGS_MODULE"}
    }
    own = {"PYTHON_DOTENV_DISABLED": "1", "DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"}
    return {**inherited, **processes.shared(), **own, **(settings or {})}


def project_copy(home: Path) -> Path:
    """Make a copy of the project, with its bundled models by a link, in the folder `home`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=processes.HOME, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if not name.startswith(("tests/", "docs/", "notebooks/", "data/models/")):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(processes.HOME / name, home / name)
    (home / "data" / "models").symlink_to(processes.HOME / "data" / "models")
    return home


def manage(
    environment: Mapping[str, str], *arguments: str, check: bool = True, home: Path = processes.HOME
) -> subprocess.CompletedProcess[str]:
    """Run a management command and return what it did; a failed one fails the test with its output."""
    command = [sys.executable, str(home / "manage.py"), *arguments]
    done = subprocess.run(
        command, env=dict(environment), capture_output=True, text=True, timeout=300, check=False
    )
    if check and done.returncode:
        raise AssertionError(
            f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
    return done


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
    """A copy of the product in `data_dir`, which `manage.py prestart` has prepared. `worker-2` is a second worker.

    `settings` are environment variables for all processes.
    """

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.port = supervision.free_port()
        self.base_url = f"http://{HOST}:{self.port}"
        self.redis_url = supervision.redis_prepare(data_dir)
        self.environment = processes.environment(
            isolated_environment(data_dir, settings),
            data_dir=data_dir,
            host=HOST,
            port=self.port,
            max_streams=int((settings or {}).get("ENGINE_MAX_STREAMS", "64")),
            redis_server=supervision.redis_server(),
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
        """Return a second web process on the same rows and Redis, at an address of its own and not yet started."""
        other = copy(self)
        other.port = supervision.free_port()
        other.base_url = f"http://{HOST}:{other.port}"
        other.environment = {**self.environment, "PORT": str(other.port), **settings}
        other._running, other._started = {}, {}
        return other

    def freeze(self, name: str) -> None:
        """Stop a process with SIGSTOP while it is writing no SQLite database: what it held would be locked for everybody."""
        with contextlib.ExitStack() as opened:
            for database in (self.data_dir / "db.sqlite3", self.data_dir / "mlflow.db"):
                if database.exists():
                    held = opened.enter_context(
                        contextlib.closing(
                            sqlite3.connect(database, timeout=20, isolation_level=None)
                        )
                    )
                    held.execute(
                        "BEGIN EXCLUSIVE"
                    )  # waits for readers, too, where a database has no write-ahead log
            self.send(name, signal.SIGSTOP)
            status = Path(f"/proc/{self.pid(name)}/status")
            wait_until(lambda: "State:\tT" in status.read_text(), f"{name} stands still")

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
        """End everything at once."""
        for name in list(self._running):
            self.kill(name)

    def logs(self, name: str, lines: int = 40) -> str:
        """Return the last lines of a process, for the message of a failed test."""
        return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-lines:])

    def wait_ready(self, *names: str, patience: float = START_PATIENCE) -> None:
        """Wait until the named processes, or all that were started, do their work."""
        for name in names or tuple(self._running):
            try:
                wait_until(lambda name=name: self._is_ready(name), f"{name} is ready", patience)  # type: ignore[misc]
            except TimeoutError as error:
                raise AssertionError(f"{error}\n{self.logs(name)}") from None

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """Return rows of the database; it is opened for reading only."""
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
            return supervision.get(HOST, self.port, "/healthz", [HOST])[0] == 200
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


class Visitor:
    """Somebody with a browser's cookies, but without a browser."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.http = requests.Session()
        self.http.trust_env = False  # no proxy stands between a test and its server

    def twin(self, base_url: str = "") -> Visitor:
        """Return the same visitor with connections of its own, perhaps over another link."""
        twin = Visitor(base_url or self.base_url)
        twin.http.cookies.update(self.http.cookies)
        return twin

    @property
    def token(self) -> str:
        """What its forms must carry; the cookie that has it is named differently by each copy."""
        return next(
            (cookie.value or "" for cookie in self.http.cookies if cookie.name.startswith("csrf")),
            "",
        )

    def get(self, path: str, **options: Any) -> requests.Response:
        """Open a page."""
        return self.http.get(self.base_url + path, timeout=30, **options)

    def post(
        self,
        path: str,
        data: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> requests.Response:
        """Send a form, with the token that the pages carry."""
        if not self.token:
            self.get("/")
        token = {"X-CSRFToken": self.token, "Origin": self.base_url}
        return self.http.post(
            self.base_url + path, data, headers={**token, **(headers or {})}, timeout=30, **options
        )

    def ask(self, **parameters: Any) -> requests.Response:
        """Submit a generation and return the answer, whatever it is."""
        return self.post("/generations/", parameters, headers={"Accept": "application/json"})

    def submit(self, **parameters: Any) -> dict[str, Any]:
        """Submit a generation that must be accepted; return its id, url and socket."""
        answer = self.ask(
            **{"prompt": "It was a dark", "length": 200, "temperature": 0.8, **parameters}
        )
        if answer.status_code != 201:
            raise AssertionError(
                f"the submit was answered {answer.status_code}: {answer.text[:500]}"
            )
        accepted: dict[str, Any] = answer.json()
        return accepted

    def socket(
        self,
        generation_id: str,
        after: int | str | None = None,
        *,
        origin: str | None = "",
        path: str | None = None,
        pings: bool = True,
    ) -> connect:
        """Return the socket of a generation, to be used with `async with`.

        `origin` None sends no such header. Without `pings` it never asks whether the server is
        there, as browsers do not.
        """
        address = path or f"/ws/generations/{generation_id}/" + (
            "" if after is None else f"?after={after}"
        )
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.http.cookies)
        return connect(
            self.base_url.replace("http", "ws", 1) + address,
            origin=self.base_url if origin == "" else origin,  # type: ignore[arg-type]
            additional_headers={"Cookie": cookies},
            proxy=None,
            max_size=None,
            ping_interval=20 if pings else None,
        )

    async def frames(self, generation_id: str, after: int | None = None) -> list[dict[str, Any]]:
        """Watch a generation to its end and return every frame."""
        async with self.socket(generation_id, after) as socket:
            return await frames_until_end(socket)


async def until_closed(socket: ClientConnection) -> list[dict[str, Any]]:
    """Return what still comes before the server closes."""
    received: list[dict[str, Any]] = []
    async with asyncio.timeout(15):
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                received.append(json.loads(message))  # noqa: PERF401 (what came before the close counts)
    return received


async def frames_until_end(socket: ClientConnection) -> list[dict[str, Any]]:
    """Return the frames of an open socket up to and with the one that ends the generation."""
    frames: list[dict[str, Any]] = []
    async for message in socket:
        frames.append(json.loads(message))
        if frames[-1]["type"] == "end":
            return frames
    raise AssertionError(f"the socket closed with {socket.close_code} before the end")


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
        # An aborted test run leaves nothing behind. The kernel means the thread that starts it, so
        # only the main one will do.
        preexec_fn=_die_with_parent
        if threading.current_thread() is threading.main_thread()
        else None,
    )


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(supervision.SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
