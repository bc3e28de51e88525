"""What stands in front of every page and socket: the Content-Security-Policy, a busy database, and the origin check."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import split_domain_port, validate_host
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import is_same_domain
from django.views import defaults

View = Callable[[HttpRequest], HttpResponse]
logger = logging.getLogger(__name__)
DATABASE_AWAY = (OperationalError, InterfaceError)
DATABASE_RETRY_AFTER = 5  # seconds


def ContentSecurityPolicyMiddleware(get_response: View) -> View:
    """Send settings.SECURE_CSP with every page. Django 6 does this itself, under the same setting."""
    policy = "; ".join(f"{directive} {' '.join(sources)}" for directive, sources in settings.SECURE_CSP.items())

    def protected(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers["Content-Security-Policy"] = policy
        return response

    return protected


class BusyDatabaseMiddleware(MiddlewareMixin):
    """Answer 503 with Retry-After when a view found the database locked or away: the request can be sent again as it is."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return database_busy(request, exception) if isinstance(exception, DATABASE_AWAY) else None


def database_busy(request: HttpRequest, exception: BaseException) -> HttpResponse:
    """Return the answer for a database that is busy or away. It asks the database nothing, and so knows nobody's name."""
    logger.warning("%s %s: the database is busy or away: %s", request.method, request.path, exception)
    if hasattr(request, "session"):
        request.session.modified = False  # saving it would wait for the same lock, and the answer would be an error after all
    response: HttpResponse
    if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        response = JsonResponse({"errors": {"__all__": ["The database is busy."]}}, status=503)
    else:
        response = HttpResponse(render_to_string("503.html", {"seconds": DATABASE_RETRY_AFTER}), status=503)
    response.headers["Retry-After"] = str(DATABASE_RETRY_AFTER)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Return the answer for an error outside of a view: the session, for one, is saved after it."""
    error = sys.exc_info()[1]
    return database_busy(request, error) if isinstance(error, DATABASE_AWAY) else defaults.server_error(request)


class SameOriginSockets:
    """Refuse (403, before accepting) a WebSocket whose Origin is not this very site: scheme, host and port.

    A proxy that ends TLS makes the scheme look plain; its origin is then named in CSRF_TRUSTED_ORIGINS, as for forms.
    """

    def __init__(self, application: Callable[..., Awaitable[None]]) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if self._allowed(headers.get(b"origin", ""), headers.get(b"host", ""), scope.get("scheme", "ws")):
            await self.application(scope, receive, send)
        else:
            await WebsocketDenier()(scope, receive, send)

    @staticmethod
    def _allowed(origin: str, host: str, scheme: str) -> bool:
        if any(_covers(trusted, origin) for trusted in settings.CSRF_TRUSTED_ORIGINS):
            return True
        site = f"{'https' if scheme == 'wss' else 'http'}://{host}"
        return origin == site and validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS)


def _covers(trusted: str, origin: str) -> bool:
    """Tell whether an entry of CSRF_TRUSTED_ORIGINS, which may be like https://*.example.org, names an origin."""
    pattern = urlsplit(trusted)
    if "*" not in pattern.netloc:
        return origin == trusted
    try:
        asked = urlsplit(origin)
    except ValueError:  # [ without ]
        return False
    return asked.scheme == pattern.scheme and is_same_domain(asked.netloc, pattern.netloc.lstrip("*"))
