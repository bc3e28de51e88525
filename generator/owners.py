"""Who is asking: the signed-in user, or the visitor whose random id lies in the session."""

from __future__ import annotations

import uuid
from importlib import import_module
from types import SimpleNamespace
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest

from generator.models import Generation, Owner

VISITOR_KEY = "visitor"


def request_owner(request: HttpRequest) -> Owner | None:
    """Return the owner behind a request, or None for a visitor who has made nothing yet."""
    if request.user.is_authenticated:
        return Owner(user_id=request.user.pk)
    visitor = request.session.get(VISITOR_KEY)
    return Owner(visitor=visitor) if visitor else None


def ensure_owner(request: HttpRequest) -> Owner:
    """Return the owner behind a request; a new visitor gets an id, and with it a session."""
    owner = request_owner(request)
    if owner is None:
        owner = Owner(visitor=uuid.uuid4().hex)
        request.session[VISITOR_KEY] = owner.visitor
    return owner


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
