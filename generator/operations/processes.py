"""The command lines and the environment of the product's processes.

Command lines are read from deploy/supervisord.conf. This module needs no Django settings, because
the tests start single processes in environments of their own.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from configparser import RawConfigParser
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
CONFIGURATION = HOME / "deploy" / "supervisord.conf"
NUMBERED = re.compile(r"(?P<program>[a-z]+)(-\d+)?")  # "worker-2": a second process of "worker"


def environment(
    base: Mapping[str, str],
    *,
    data_dir: Path,
    host: str,
    port: int,
    max_streams: int,
    redis_server: str = "",
) -> dict[str, str]:
    """Return the environment of the processes.

    `redis_server` is the binary of our own Redis server, empty if REDIS_URL names another.
    """
    return {
        **base,
        **shared(),
        "CHARRNN_HOME": str(HOME),
        "CHARRNN_PYTHON": sys.executable,
        "CHARRNN_REDIS_SERVER": redis_server or "redis-server",
        "CHARRNN_REDIS_AUTOSTART": "true" if redis_server else "false",
        "DATA_DIR": str(data_dir),
        "HOST": host,
        "PORT": str(port),
        "ENGINE_MAX_STREAMS": str(max_streams),
    }


def command(name: str, variables: Mapping[str, str]) -> list[str]:
    """Return the command line of a process: a program's name, or one with a number added.

    Raises KeyError for a program that is not in the configuration.
    """
    match = NUMBERED.fullmatch(name)
    section = f"program:{match['program']}" if match else ""
    if section not in (parser := _parser()):
        raise KeyError(name)
    known = {f"ENV_{key}": value for key, value in variables.items()} | {"program_name": name}
    return shlex.split(parser[section]["command"] % known)


def programs() -> list[str]:
    """Return the names of all programs."""
    return [
        section.removeprefix("program:")
        for section in _parser().sections()
        if section.startswith("program:")
    ]


def shared() -> dict[str, str]:
    """Return the variables that every process gets."""
    pairs = shlex.split(_parser()["supervisord"]["environment"].replace(",", " "))
    return dict(pair.split("=", 1) for pair in pairs)


def _parser() -> RawConfigParser:
    parser = RawConfigParser(inline_comment_prefixes=(" ;",))
    parser.read_string(CONFIGURATION.read_text())
    return parser
