"""Answers as a page or as JSON, as the asker prefers, and the shape of errors in JSON."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render


def wants_json(request: HttpRequest) -> bool:
    """Tell whether the asker prefers JSON to a page."""
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def form_errors(form: BaseForm) -> JsonResponse:
    """Return what is wrong with a form, by field."""
    return JsonResponse({"errors": form.errors}, status=400)


def error_json(sentence: str, status: int, **more: Any) -> JsonResponse:
    """Return a sentence about no field in particular, with what `more` the answer holds."""
    return JsonResponse({"errors": {NON_FIELD_ERRORS: [sentence]}, **more}, status=status)


def error(request: HttpRequest, sentence: str, status: int, **context: Any) -> HttpResponse:
    """Return a sentence as JSON, or else the page of its status, made with `context`."""
    if wants_json(request):
        return error_json(sentence, status)
    return render(request, f"{status}.html", context, status=status)
