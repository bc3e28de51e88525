"""Answers to requests that no view could answer: the database is away, a form's token is wrong."""

from __future__ import annotations

import logging
import sys

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views import defaults

from generator.database import passing
from generator.web import actions, answers

logger = logging.getLogger(__name__)
DATABASE_RETRY_AFTER = 5  # seconds
# How Django's reasons begin.
OF_ANOTHER_SITE = ("Origin checking failed", "Referer checking failed")
NOT_OUR_NAME = (
    "The server was asked for under a name that it does not know. "
    "If you run it, add that name to ALLOWED_HOSTS."
)
NOT_OUR_PAGE = (
    "The server does not know this page's address as its own. "
    "If you run the site behind a proxy, name that address in CSRF_TRUSTED_ORIGINS."
)


def database_busy(request: HttpRequest, exception: BaseException) -> HttpResponse:
    """Return the answer for a database that is busy or away, without any query."""
    logger.warning(
        "%s %s: the database is busy or away: %s", request.method, request.path, exception
    )
    if hasattr(request, "session"):
        request.session.modified = False  # saving it would fail at the same lock
    response: HttpResponse
    if answers.wants_json(request):
        response = answers.error_json("The database is busy.", 503)
    else:
        response = HttpResponse(
            render_to_string("503.html", {"seconds": DATABASE_RETRY_AFTER}), status=503
        )
    response.headers["Retry-After"] = str(DATABASE_RETRY_AFTER)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Return the answer for an error outside of a view, as when the session is saved after it."""
    error = sys.exc_info()[1]
    if error and passing(error):
        return database_busy(request, error)
    return defaults.server_error(request)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return the answer for a request that cannot be read, or for a host that is not allowed."""
    if isinstance(exception, DisallowedHost):
        return answers.error(request, NOT_OUR_NAME, 400, problem=NOT_OUR_NAME)
    return answers.error(request, "The request was too large or not understood.", 400)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return the answer for an address that does not exist, or is another's."""
    return answers.error(request, "Not found.", 404)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Return the answer for a form with a wrong origin or token.

    A page that is too old gets a new token. A form of another origin gets none. Mostly that is this
    very site behind a proxy that the settings do not name, so the answer names the setting.
    """
    foreign = reason.startswith(OF_ANOTHER_SITE)
    if foreign:
        logger.warning(
            "%s If that is this site behind a proxy, name its address in CSRF_TRUSTED_ORIGINS.",
            reason,
        )
    elif answer := actions.form_too_old(request):
        return answer
    if not answers.wants_json(request):
        origin = request.headers.get("Origin") or request.headers.get("Referer", "")
        return render(request, "403_csrf.html", {"foreign": foreign, "origin": origin}, status=403)
    if foreign:
        return answers.error_json(NOT_OUR_PAGE, 403)
    return answers.error_json(actions.TOO_OLD, 403, csrf_token=get_token(request))
