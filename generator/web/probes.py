"""Two addresses for monitoring: does this process answer, and could a text be written."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from generator.operations.health import Check, checks


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Say that this process serves pages, and check nothing else. Without an answer: restart it."""
    return JsonResponse({"status": "alive"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Say whether a text could be written now: 200 or 503, with the result of every check."""
    results = list(checks())
    ready = all(check.ok for check in results)
    body: dict[str, Any] = {"ready": ready, "checks": [_public(check) for check in results]}
    return JsonResponse(body, status=200 if ready else 503)


def _public(check: Check) -> dict[str, Any]:
    """Return a check without addresses and secrets, for anyone: no advice, no exception's words."""
    found = check.found if check.ok else check.found.split(":")[0]
    return {"name": check.name, "ok": check.ok, "found": found}
