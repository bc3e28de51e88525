"""A real MLflow server over the registry that `prestart` made in a state folder."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

import requests

from generator.operations import addresses, processes
from tests.environment import isolated_environment
from tests.stack import HOST, wait_until


class MlflowServer:
    """Keeps its address when it is started again; `data_dir` holds its database and its log."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._port = addresses.free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://{HOST}:{self._port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Self:
        """Start the server; it takes some seconds until it answers."""
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            f"--backend-store-uri=sqlite:///{self._data_dir / 'mlflow.db'}",
        ]
        command += [
            f"--artifacts-destination={self._data_dir / 'mlartifacts'}",
            f"--host={HOST}",
            f"--port={self._port}",
        ]
        with (self._data_dir / "mlflow.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--workers=1"],
                env=isolated_environment(self._data_dir),
                cwd=processes.HOME,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def wait_ready(self) -> Self:
        """Wait until the server answers."""
        wait_until(self._answers, "the MLflow server answers")
        return self

    def silence(self) -> None:
        """Let it stand still: it takes connections, and answers none."""
        self._signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it and its children without warning."""
        if self._process:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _signal(self, number: int) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(
                f"the MLflow server ended:\n{(self._data_dir / 'mlflow.log').read_text()[-2_000:]}"
            )
        with contextlib.suppress(requests.RequestException), requests.Session() as http:
            http.trust_env = False
            return http.get(f"{self.url}/health", timeout=5).ok
        return False
