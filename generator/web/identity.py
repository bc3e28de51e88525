"""What follows a change of identity: texts move to the new user, and open sockets are checked."""

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
    """Give a visitor's texts to the user who signs in, and have the old identity's sockets checked.

    Texts move before the view, too: a reply that was on its way during the sign-in may have brought
    the visitor's cookie back.
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
    """Have an account's sockets checked: a new password, a lock or a deletion ends its sessions."""
    if not created and update_fields != {"last_login"}:
        owner = Owner(instance.pk)
        transaction.on_commit(lambda: notify.owner_changed(owner))
