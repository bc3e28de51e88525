"""The address of a request, which limits count by."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory

from generator.owners import client_address, request_address, scope_address


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "", "10.0.0.1"),
        (0, "203.0.113.9", "10.0.0.1"),  # any client can send the header
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),  # the client invented the left one
        (2, "198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (2, "203.0.113.9", "10.0.0.1"),  # did not come through both
        (1, "", "10.0.0.1"),
        (1, "unknown", "10.0.0.1"),
        (1, "203.0.113.9:4711", "10.0.0.1"),
        (1, "charrnn:*", "10.0.0.1"),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (1, "2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        (1, "fe80::1%e*", "fe80::/64"),
        (1, "::ffff:203.0.113.9", "203.0.113.9"),
    ],
)
def test_the_address_comes_from_the_peer_or_from_the_outermost_trusted_proxy(
    settings: Any, proxies: int, forwarded: str, address: str
) -> None:
    settings.TRUSTED_PROXIES = proxies
    assert client_address("10.0.0.1", forwarded) == address
    request = RequestFactory().get(
        "/", REMOTE_ADDR="10.0.0.1", headers={"x-forwarded-for": forwarded}
    )
    assert request_address(request) == address
    scope = {
        "client": ["10.0.0.1", 4711],
        "headers": [(b"host", b"x"), (b"x-forwarded-for", forwarded.encode())],
    }
    assert scope_address(scope) == address


def test_behind_a_file_socket_only_a_proxy_knows_the_address(settings: Any) -> None:
    assert scope_address({"client": None, "headers": []}) == ""
    settings.TRUSTED_PROXIES = 1
    assert (
        scope_address({"client": None, "headers": [(b"x-forwarded-for", b"203.0.113.9")]})
        == "203.0.113.9"
    )
