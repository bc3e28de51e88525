"""Who is asking, and from where: the signed-in user, or the visitor whose random id lies in the session; and their address."""

from __future__ import annotations

import uuid
from importlib import import_module
from ipaddress import IPv6Address, IPv6Network, ip_address
from types import SimpleNamespace
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from generator.models import Generation, Owner, Submit

VISITOR_KEY = "visitor"


def request_owner(request: HttpRequest) -> Owner | None:
    """Return the owner behind a request, or None for a visitor who has made nothing yet."""
    if request.user.is_authenticated:
        return Owner(user_id=request.user.pk)
    visitor = request.session.get(VISITOR_KEY)
    return Owner(visitor=visitor) if visitor else None


def new_visitor(request: HttpRequest) -> Owner:
    """Return a visitor who has made nothing yet: the same one for the same browser, as the secret of its forms tells it.

    When the reply to a first submit is lost, so is the session; sent again, it must still be known as the same submit.
    """
    secret = request.META.get("CSRF_COOKIE")
    return Owner(visitor=salted_hmac("generator.visitor", secret).hexdigest()[:32] if secret else uuid.uuid4().hex)


def remember_owner(request: HttpRequest, owner: Owner) -> None:
    """Let the session of a new visitor say who they are. Only who has made something gets a session, and so a row."""
    if owner.visitor and request.session.get(VISITOR_KEY) != owner.visitor:
        request.session[VISITOR_KEY] = owner.visitor


def request_address(request: HttpRequest) -> str:
    """Return the address a request comes from, as limits count it."""
    return client_address(request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""))


def scope_address(scope: dict[str, Any]) -> str:
    """Return the address a socket comes from, as limits count it."""
    forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return client_address((scope.get("client") or [""])[0], ",".join(forwarded))


def client_address(peer: str, forwarded: str) -> str:
    """Return an IPv4 address or the /64 of an IPv6 one, which is what one household has; empty when it is not known.

    Each of our proxies adds the address it was asked from to X-Forwarded-For, so the entries count from the right. What
    did not come through all of them, or is no address, says nothing; then whoever asked us directly counts.
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


def session_owner(session_key: str) -> Owner | None:
    """Return the owner behind a session cookie as of now: the session is read again, so that a sign-out counts."""
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(cast("HttpRequest", SimpleNamespace(session=session)))
    if user.is_authenticated:
        return Owner(user_id=user.pk)
    visitor = session.get(VISITOR_KEY)
    return Owner(visitor=visitor) if visitor else None


@receiver(user_logged_in)
def adopt_visitor_generations(request: HttpRequest, user: Any, **_: object) -> None:
    """Give a visitor's generations to the user who signs in from the same browser, so that nothing is lost."""
    if visitor := request.session.pop(VISITOR_KEY, None):
        # The keys of submits go, for the user may have used the same; they were for repeats within seconds.
        Generation.objects.owned_by(Owner(visitor=visitor)).update(user=user, visitor="", client_key="")
        Submit.objects.filter(visitor=visitor).update(user=user, visitor="")
