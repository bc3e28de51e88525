"""What follows when somebody becomes somebody else: by signing in or up, at whichever door, and by signing out."""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction
from django.http import HttpRequest, HttpResponse

from generator.models import Generation, Owner, Submit
from generator.owners import forget_visitor, visitor_of

View = Callable[[HttpRequest], HttpResponse]


def IdentityMiddleware(get_response: View) -> View:
    """Give a visitor's texts to the user that the same browser signs in as, and end the visitor's cookie.

    Looked at before the view, too: a reply that was on its way may have brought the cookie back after the sign-in.
    """

    def known(request: HttpRequest) -> HttpResponse:
        adopted = _adopt(request)
        response = get_response(request)
        if adopted or _adopt(request):
            forget_visitor(response)
        return response

    return known


def _adopt(request: HttpRequest) -> bool:
    visitor = visitor_of(request.COOKIES)
    if not visitor or not request.user.is_authenticated:
        return False
    visitor_adopt(visitor=visitor, user_id=request.user.pk)
    return True


def visitor_adopt(*, visitor: Owner, user_id: int) -> None:
    """Make a visitor's generations a user's, so that nothing is lost; what the visitor did in the last minute counts on."""
    theirs, mine = Generation.objects.owned_by(visitor), Generation.objects.owned_by(Owner(user_id))
    with transaction.atomic():
        theirs.filter(client_key__in=mine.exclude(client_key="").values("client_key")).update(client_key="")
        theirs.update(user_id=user_id, visitor="")
        Submit.objects.filter(visitor=visitor.visitor).update(user_id=user_id, visitor="")
