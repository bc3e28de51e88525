"""What stands in front of every page and every socket: the Content-Security-Policy and the origin check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host
from django.utils.decorators import sync_and_async_middleware


@sync_and_async_middleware
def ContentSecurityPolicyMiddleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Send settings.SECURE_CSP with every response. Django 6 does this itself, under the same setting."""
    policy = "; ".join(f"{directive} {' '.join(sources)}" for directive, sources in settings.SECURE_CSP.items())

    def protect(response: HttpResponse) -> HttpResponse:
        response.headers["Content-Security-Policy"] = policy
        return response

    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponse:
            return protect(await get_response(request))

        return asynchronous
    return lambda request: protect(get_response(request))


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
        if origin in settings.CSRF_TRUSTED_ORIGINS:
            return True
        site = f"{'https' if scheme == 'wss' else 'http'}://{host}"
        return origin == site and validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS)
