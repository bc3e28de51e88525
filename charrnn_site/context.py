"""What every template knows."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def cookies(request: HttpRequest) -> dict[str, str]:
    """Return the name of the cookie from which scripts take the token of forms."""
    return {"csrf_cookie": settings.CSRF_COOKIE_NAME}
