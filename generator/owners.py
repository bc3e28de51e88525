"""Who is asking: the signed-in user, or the visitor of a cookie; and from which address."""

from __future__ import annotations

import uuid
from importlib import import_module
from ipaddress import IPv6Address, IPv6Network, ip_address
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from django.conf import settings
from django.contrib.auth import get_user
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from generator.models import Owner

Response = TypeVar("Response", bound=HttpResponse)
_signer = Signer(salt="generator.visitor")


def request_owner(request: HttpRequest) -> Owner | None:
    """Return the owner who makes a request, or None without a cookie of ours."""
    if request.user.is_authenticated:
        return Owner(user_id=request.user.pk)
    return visitor_of(request.COOKIES)


def socket_owner(cookies: dict[str, str]) -> Owner | None:
    """Return the owner of a socket's cookies. Reads the session anew, so that a sign-out counts."""
    session = import_module(settings.SESSION_ENGINE).SessionStore(
        cookies.get(settings.SESSION_COOKIE_NAME, "")
    )
    user = get_user(cast("HttpRequest", SimpleNamespace(session=session)))
    return Owner(user_id=user.pk) if user.is_authenticated else visitor_of(cookies)


def new_visitor() -> Owner:
    """Return a visitor with a random id."""
    return Owner(visitor=uuid.uuid4().hex)


def visitor_of(cookies: dict[str, str]) -> Owner | None:
    """Return the visitor of a cookie, or None without one that we signed."""
    try:
        return Owner(visitor=_signer.unsign(cookies.get(settings.VISITOR_COOKIE_NAME, "")))
    except BadSignature:
        return None


def remember_visitor(response: Response, owner: Owner) -> Response:
    """Send a visitor their cookie, for another year. Users have a session instead."""
    if owner.visitor:
        response.set_cookie(
            settings.VISITOR_COOKIE_NAME,
            _signer.sign(owner.visitor),
            max_age=settings.VISITOR_COOKIE_AGE,
            path=settings.SESSION_COOKIE_PATH,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
        patch_vary_headers(response, ("Cookie",))
    return response


def forget_visitor(response: HttpResponse) -> None:
    """Have the browser remove a visitor's cookie."""
    response.delete_cookie(
        settings.VISITOR_COOKIE_NAME, path=settings.SESSION_COOKIE_PATH, samesite="Lax"
    )


def request_address(request: HttpRequest) -> str:
    """Return the address of a request, as limits count it."""
    return client_address(
        request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", "")
    )


def scope_address(scope: dict[str, Any]) -> str:
    """Return the address of a socket, as limits count it."""
    forwarded = [
        value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"
    ]
    return client_address((scope.get("client") or [""])[0], ",".join(forwarded))


def client_address(peer: str, forwarded: str) -> str:
    """Return an IPv4 address, or of an IPv6 one the /64, which one household has; "" if unknown.

    Each of our proxies adds the address it was asked from to the end of X-Forwarded-For. If the
    header has too few entries, or no address in that place, the direct peer counts.
    """
    entries = [entry.strip() for entry in forwarded.split(",")]
    through = settings.TRUSTED_PROXIES
    for candidate in [*([entries[-through]] if 0 < through <= len(entries) else []), peer]:
        try:
            address = ip_address(candidate)
        except ValueError:
            continue
        if not isinstance(address, IPv6Address):
            return str(address)
        return str(address.ipv4_mapped or IPv6Network((address.packed, 64), strict=False))
    return ""
