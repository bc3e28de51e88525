"""What follows when somebody becomes somebody else: by signing in, up or out, at whichever door, or by what the staff does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse

from generator import services
from generator.models import Owner
from generator.owners import forget_visitor, request_owner, visitor_of
from generator.redis_store import notify

View = Callable[[HttpRequest], HttpResponse]


def IdentityMiddleware(get_response: View) -> View:
    """Hand a visitor's texts to the user that the same browser signs in as, and end what the one before still watches.

    Texts are handed over before the view, too: a reply that was on its way may have brought the
    cookie back after the sign-in.
    """

    def known(request: HttpRequest) -> HttpResponse:
        before = request_owner(request) if request.method == "POST" else None
        adopted = _adopt(request)
        response = get_response(request)
        if before and before != request_owner(request):
            adopted = _adopt(request) or adopted
            notify.owner_changed(before)
        if adopted:
            forget_visitor(response)
        return response

    return known


def _adopt(request: HttpRequest) -> bool:
    visitor = visitor_of(request.COOKIES)
    if not visitor or not request.user.is_authenticated:
        return False
    services.visitor_adopt(visitor=visitor, user_id=request.user.pk)
    return True


@receiver((post_save, post_delete), sender=User)
def account_changed(
    instance: User, *, created: bool = False, update_fields: Any = None, **_: object
) -> None:
    """Have the sockets of an account look again: a new password, a lock or a deletion ends its sign-ins."""
    if not created and update_fields != {"last_login"}:
        owner = Owner(instance.pk)
        transaction.on_commit(lambda: notify.owner_changed(owner))
