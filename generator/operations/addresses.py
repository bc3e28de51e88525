"""Addresses on this machine: free ports, the URL of the site, and its pages."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Sequence

LOOPBACK = "127.0.0.1"


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


def url(host: str, port: int) -> str:
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


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
