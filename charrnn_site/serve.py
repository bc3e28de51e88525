"""The web server: daphne with the connections of charrnn_site/connections.py.

python -m charrnn_site.serve -b 127.0.0.1 -p 8000 charrnn_site.asgi:application
"""

from __future__ import annotations

import resource
import sys
from typing import Any

import daphne.server  # first: it chooses the event loop
from daphne.cli import CommandLineInterface

import charrnn_site.asgi  # noqa: F401 (sets Django up)
from charrnn_site.connections import ChannelFactory, SocketFactory

# Connections that wait to be accepted. With daphne's 50 the others of a rush wait for seconds.
BACKLOG = 1_024
OPEN_FILES = 8_192  # two schools use up the usual 1,024


class Server(daphne.server.Server):  # type: ignore[misc]
    """Has the kernel hold the connections of a whole school that comes back at once."""

    def __init__(self, *args: Any, endpoints: list[str], **options: Any) -> None:
        super().__init__(
            *args, endpoints=[f"{endpoint}:backlog={BACKLOG}" for endpoint in endpoints], **options
        )


class CommandLine(CommandLineInterface):  # type: ignore[misc]
    """The options of daphne's own command."""

    server_class = Server


def main() -> None:
    """Serve until a signal ends it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < OPEN_FILES and (hard >= OPEN_FILES or hard == resource.RLIM_INFINITY):
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))
    # daphne makes connections by these names.
    daphne.server.HTTPFactory = ChannelFactory
    daphne.server.WebSocketFactory = SocketFactory
    CommandLine().run(sys.argv[1:])


if __name__ == "__main__":
    main()
