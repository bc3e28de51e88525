"""A worker told to stop ends within three seconds, and is ready only while it takes texts."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from generator.operations import addresses
from tests.faults.injection import injected
from tests.stack import HOST, Stack, wait_until

MakeStack = Callable[..., Stack]
PROMISED = 3.0  # seconds
BEFORE_CELERY_LISTENS = -signal.SIGTERM


@pytest.fixture(scope="module")
def surroundings(prepared: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Redis and the web process, for the workers of these tests."""
    folder = shutil.copytree(str(prepared), tmp_path_factory.mktemp("starts") / "var")
    with Stack(folder) as stack:
        yield stack.start("redis", "web")


def row_of(stack: Stack) -> list[dict[str, object]]:
    return stack.rows("SELECT consumes FROM generator_worker WHERE pid = ?", stack.pid("worker"))


def stop_and_time(stack: Stack) -> float:
    """Stop the worker, check its exit code, and return the seconds it took."""
    began = time.monotonic()
    code = stack.stop("worker", signal.SIGTERM, patience=PROMISED * 3)
    took = time.monotonic() - began
    print(f"stopped after {took:.2f} s")
    assert code in (0, BEFORE_CELERY_LISTENS), stack.logs("worker")
    return took


def worker_check(stack: Stack) -> tuple[bool, str]:
    """Return the state of workers according to /readyz."""
    _, body = addresses.get(HOST, stack.port, "/readyz", [HOST])
    return next(
        (check["ok"], check["found"])
        for check in json.loads(body)["checks"]
        if check["name"] == "worker"
    )


@pytest.mark.parametrize("after", [0.3, 0.8, 1.3])
def test_a_worker_that_is_stopped_as_it_starts_ends_in_time(
    surroundings: Stack, after: float
) -> None:
    surroundings.launch("worker")
    time.sleep(after)  # the moment is the test's input: there is no state to wait for
    assert stop_and_time(surroundings) <= PROMISED


@pytest.mark.parametrize("after", [0.0, 0.05, 0.2, 0.5, 1.0, 2.0])
def test_a_worker_that_is_stopped_once_its_row_is_there_ends_in_time(
    surroundings: Stack, after: float
) -> None:
    surroundings.launch("worker")
    wait_until(lambda: row_of(surroundings), "its row appears")
    time.sleep(after)
    assert stop_and_time(surroundings) <= PROMISED
    assert "Traceback" not in surroundings.logs("worker", 60)


def test_a_worker_counts_as_ready_only_when_it_takes_texts(surroundings: Stack) -> None:
    with injected(surroundings, "golden"):
        surroundings.launch("worker")
    wait_until(lambda: row_of(surroundings), "its row appears")
    ready, found = worker_check(surroundings)
    assert not ready
    assert "none takes texts" in found
    assert surroundings.manage("doctor", "--only", "worker", check=False).returncode == 1
    assert stop_and_time(surroundings) <= PROMISED  # while the golden text runs
    surroundings.start("worker")
    assert worker_check(surroundings) == (True, "1 alive")
    visitor = surroundings.visitor()
    generation_id = visitor.submit(length=1)["id"]
    ended = "SELECT state FROM generator_generation WHERE state = 'done' AND id = ?"
    wait_until(lambda: surroundings.rows(ended, generation_id.replace("-", "")), "it writes", 10)
    assert stop_and_time(surroundings) <= PROMISED
    assert not worker_check(surroundings)[0]


def test_a_worker_is_not_ready_without_redis_and_ready_once_redis_is_back(
    surroundings: Stack,
) -> None:
    surroundings.start("worker")
    surroundings.kill("redis")
    try:
        wait_until(lambda: not worker_check(surroundings)[0], "it says that it takes no texts", 20)
        surroundings.start("redis")
        wait_until(lambda: worker_check(surroundings)[0], "it takes texts again", 20)
        surroundings.kill("redis")
        assert stop_and_time(surroundings) <= PROMISED
    finally:
        if not surroundings.is_running("redis"):
            surroundings.start("redis")


def test_a_worker_ends_in_time_while_the_database_is_locked(surroundings: Stack) -> None:
    log = surroundings.data_dir / "logs" / "worker.log"
    known = log.stat().st_size
    with surroundings.locked_database():
        surroundings.launch("worker")
        wait_until(lambda: b"[queues]" in log.read_bytes()[known:], "Celery is there")
        time.sleep(1)
        assert stop_and_time(surroundings) <= PROMISED
    surroundings.start("worker")
    with surroundings.locked_database():
        assert stop_and_time(surroundings) <= PROMISED


def test_a_worker_ends_in_time_while_it_fetches_a_version(make_stack: MakeStack) -> None:
    with socket.create_server((HOST, 0)) as silent:
        stack = make_stack("redis", MLFLOW_TRACKING_URI=f"http://{HOST}:{silent.getsockname()[1]}")
        shutil.rmtree(stack.data_dir / "versions")
        stack.launch("worker")
        silent.settimeout(60)
        with silent.accept()[0]:  # the fetching process asks
            assert stop_and_time(stack) <= PROMISED


def test_a_text_requeued_while_its_model_is_fetched_is_not_counted_as_failed(
    make_stack: MakeStack,
) -> None:
    with socket.create_server((HOST, 0)) as silent:
        stack = make_stack(
            "redis", "web", "worker", MLFLOW_TRACKING_URI=f"http://{HOST}:{silent.getsockname()[1]}"
        )
        other = stack.rows("SELECT version, digest FROM generator_modelversion WHERE NOT is_live")[
            0
        ]
        shutil.rmtree(stack.data_dir / "versions" / other["digest"])
        stack.visitor().submit(version=other["version"])
        silent.settimeout(60)
        with silent.accept()[0]:
            assert stop_and_time(stack) <= PROMISED
    assert stack.rows("SELECT state, failures FROM generator_generation") == [
        {"state": "queued", "failures": 0}
    ]
