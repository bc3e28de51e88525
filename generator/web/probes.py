"""Two addresses for monitoring: whether this process answers, and whether a text could be written."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from generator.operations.health import Check, checks


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Say that this process serves pages; nothing else is looked at. A failing answer means: restart it."""
    return JsonResponse({"status": "alive"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Say whether a text could be written now: 200 or 503, with every check. Findings name no address and no secret."""
    results = list(checks())
    ready = all(check.ok for check in results)
    body: dict[str, Any] = {"ready": ready, "checks": [_public(check) for check in results]}
    return JsonResponse(body, status=200 if ready else 503)


def _public(check: Check) -> dict[str, Any]:
    """A check without advice, and without the words of an exception: anyone may read this page."""
    found = check.found if check.ok else check.found.split(":")[0]
    return {name: value for name, value in asdict(check).items() if name != "advice"} | {
        "found": found
    }
