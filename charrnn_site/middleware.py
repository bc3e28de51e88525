"""What every page and socket passes: content policy, compression, base path, origin check."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import is_same_domain

from charrnn_site.errors import database_busy
from generator.database import passing

View = Callable[[HttpRequest], HttpResponse]
Application = Callable[..., Awaitable[None]]
logger = logging.getLogger(__name__)


def ContentSecurityPolicyMiddleware(get_response: View) -> View:
    """Send settings.SECURE_CSP with every page. Django 6 does this itself, by the same setting."""
    policy = "; ".join(
        f"{directive} {' '.join(sources)}" for directive, sources in settings.SECURE_CSP.items()
    )

    def protected(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers["Content-Security-Policy"] = policy
        return response

    return protected


class BusyDatabaseMiddleware(MiddlewareMixin):
    """Answers 503 with Retry-After when a view found the database locked or away."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return database_busy(request, exception) if passing(exception) else None


class CompressionMiddleware(GZipMiddleware):
    """Compresses pages that show nothing of their request.

    An attacker who makes a browser ask for pages, and sees their lengths, can guess a secret in
    them: a page that also holds the right guess compresses better (BREACH). So a page that may show
    a query or a form is not compressed. Django also adds a random length and masks CSRF tokens.
    Streamed answers stay as they are.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if request.method != "GET" or request.META.get("QUERY_STRING") or response.streaming:
            return response
        compressed: HttpResponseBase = super().process_response(request, response)
        return compressed


async def deny(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Refuse a socket with 403. Channels would need Redis for it, and answer 500 without."""
    await send({"type": "websocket.close"})


class BasePath:
    """Serves the site below a path, whether or not the proxy strips it.

    From here on every path has it, and root_path names it. The root_path of a request is ignored.
    """

    def __init__(self, application: Application, base: str) -> None:
        self.application = application
        self.base = base

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = scope["path"] if scope["path"] != self.base else f"{self.base}/"
        if not path.startswith(f"{self.base}/"):
            path = self.base + path
        await self.application({**scope, "path": path, "root_path": self.base}, receive, send)


class SameOriginSockets:
    """Refuses a WebSocket (403) whose Origin is not this site by scheme, host and port.

    Behind a proxy that ends TLS the scheme is that of its header, if HTTPS is set. Further origins
    are named in CSRF_TRUSTED_ORIGINS, as for forms.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if self._allowed(
            headers.get(b"origin", ""), headers.get(b"host", ""), _scheme(scope, headers)
        ):
            await self.application(scope, receive, send)
        else:
            logger.warning(
                "a socket that comes from %.100r to %.100r is refused; "
                "if both are this site behind a proxy, name its address in CSRF_TRUSTED_ORIGINS",
                headers.get(b"origin", ""),
                headers.get(b"host", ""),
            )
            await deny(scope, receive, send)

    @staticmethod
    def _allowed(origin: str, host: str, scheme: str) -> bool:
        if any(_covers(trusted, origin) for trusted in settings.CSRF_TRUSTED_ORIGINS):
            return True
        site = f"{'https' if scheme == 'wss' else 'http'}://{host}"
        return origin == site and validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS)


def _scheme(scope: dict[str, Any], headers: dict[bytes, str]) -> str:
    """Return ws or wss, as HttpRequest.is_secure() would see it."""
    if settings.SECURE_PROXY_SSL_HEADER:
        name, secure = settings.SECURE_PROXY_SSL_HEADER
        said = headers.get(name.removeprefix("HTTP_").replace("_", "-").lower().encode(), "")
        return "wss" if said.split(",")[0].strip() == secure else "ws"
    return str(scope.get("scheme", "ws"))


def _covers(trusted: str, origin: str) -> bool:
    """Tell whether an entry of CSRF_TRUSTED_ORIGINS, like https://*.example.com, has an origin."""
    pattern = urlsplit(trusted)
    if "*" not in pattern.netloc:
        return origin == trusted
    try:
        asked = urlsplit(origin)
    except ValueError:  # [ without ]
        return False
    return asked.scheme == pattern.scheme and is_same_domain(
        asked.netloc, pattern.netloc.lstrip("*")
    )
