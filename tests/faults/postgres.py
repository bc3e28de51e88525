"""A PostgreSQL server for one test, and the product on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row
from psycopg.types.string import TextLoader

from generator.operations import addresses
from tests.stack import HOST, Stack


class PostgresServer:
    """A cluster in a temporary folder, on a free port; the system's own service is not used."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="charrnn-postgres-"))
        self._data = self._folder / "data"
        self._port = addresses.free_port()
        self.url = f"postgres://charrnn@{HOST}:{self._port}/postgres"

    def __enter__(self) -> Self:
        if os.geteuid() == 0:  # which the server refuses to run as
            shutil.chown(self._folder, "postgres")
        self._run(
            "initdb",
            "--username=charrnn",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            f"--pgdata={self._data}",
        )
        return self

    def __exit__(self, *_: object) -> None:
        if (self._data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        options = (
            f"-p {self._port} -c listen_addresses={HOST} -c unix_socket_directories={self._folder}"
        )
        self._run(
            "pg_ctl",
            "start",
            "--wait",
            f"--pgdata={self._data}",
            f"--log={self._folder / 'log'}",
            f"--options={options}",
        )

    def stop(self) -> None:
        """Stop it as a power failure does: connections break, nothing is flushed."""
        self._run("pg_ctl", "stop", "--mode=immediate", "--wait", f"--pgdata={self._data}")

    def _run(self, program: str, *arguments: str) -> None:
        become = ["runuser", "--user", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*become, _path(program), *arguments]
        done = subprocess.run(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{program} ended with {done.returncode}"


def _path(program: str) -> str:
    """Return the path of a server program; Debian keeps them outside PATH, by version."""
    installed = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: int(path.parts[4])
    )
    found = str(installed[-1]) if installed else shutil.which(program)
    assert found, f"no {program}: apt-get install postgresql"
    return found


class PostgresStack(Stack):
    """The product on such a server; its settings must have `DATABASE_URL`."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str]) -> None:
        self._database = settings["DATABASE_URL"]
        super().__init__(data_dir, settings)

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """Return rows of the database, with identifiers and JSON as text, as SQLite has them."""
        with psycopg.connect(self._database, row_factory=dict_row) as connection:
            for kind in ("jsonb", "uuid"):
                connection.adapters.register_loader(kind, TextLoader)
            return connection.execute(
                re.sub(r"\?", "%s", query.replace("%", "%%")), parameters
            ).fetchall()
