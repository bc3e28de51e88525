"""The pages and what they show, as HTML or as JSON. Nothing here changes a row; see actions.py."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from generator import events, selectors
from generator.models import Generation
from generator.owners import new_visitor, remember_visitor, request_owner
from generator.parameters import SAMPLING_NAMES
from generator.text import small_number, stop_line
from generator.web.answers import wants_json
from generator.web.forms import (
    DEFAULTS,
    ClientKeyForm,
    ContinueForm,
    GenerationForm,
    settings_of,
)

View = Callable[..., HttpResponse]


def own_generation(view: View) -> View:
    """Give a view the asker's generation. Those of others are 404, as if they did not exist."""

    @wraps(view)
    def inner(request: HttpRequest, generation_id: UUID) -> HttpResponse:
        generation = selectors.generation_of(request_owner(request), generation_id)
        if generation is None:
            raise Http404("You have no such text.")
        return view(request, generation)

    return never_cache(inner)


@require_safe
@never_cache
def desk(request: HttpRequest) -> HttpResponse:
    """The page where a text begins.

    `?from=<id>` fills in the parameters of an earlier text, `&live` those but the live version.
    Visitors get their cookie here, before they send anything: if the first reply is lost, the
    text is still theirs.
    """
    form = filled_form(_source(request), live="live" in request.GET)
    return remember_visitor(desk_page(request, form), request_owner(request) or new_visitor())


def filled_form(source: Generation | None, *, live: bool = False) -> GenerationForm:
    """Return the desk's form with the parameters of an earlier generation, or with the defaults."""
    initial: dict[str, Any] = {**DEFAULTS, "client_key": uuid.uuid4().hex}
    if source:
        names = ("prompt", *SAMPLING_NAMES)
        initial |= {name: getattr(source, name) for name in names}
        version = "" if live else source.model_version.version
        initial |= {"version": version, "parent": source.pk}
    return GenerationForm(initial=initial)


def _source(request: HttpRequest) -> Generation | None:
    try:
        return selectors.generation_of(request_owner(request), UUID(request.GET.get("from", "")))
    except ValueError:
        return None


def desk_page(
    request: HttpRequest,
    form: GenerationForm,
    *,
    status: int = 200,
    problem: str = "",
    name_active: bool = False,
) -> HttpResponse:
    """Return the desk with a form, a problem above it, and perhaps the asker's unfinished texts."""
    owner = request_owner(request)
    context = {
        "form": form,
        "live": form.live,
        "recent": selectors.generation_list(owner)[:3],
        "problem": problem,
        "active": selectors.generations_active(owner) if name_active else [],
    }
    return render(request, "generator/desk.html", context, status=status)


@require_safe
@own_generation
def generation_detail(request: HttpRequest, generation: Generation) -> HttpResponse:
    """The page of one text, finished or not, with everything needed to continue or repeat it."""
    if wants_json(request):
        return JsonResponse(selectors.generation_as_dict(generation))
    unsent = {**settings_of(generation), "client_key": uuid.uuid4().hex}
    return detail_page(request, generation, ContinueForm(initial=unsent, parent=generation))


def detail_page(
    request: HttpRequest,
    generation: Generation,
    form: ContinueForm,
    *,
    status: int = 200,
    problem: str = "",
) -> HttpResponse:
    """Return the page of a text with the form that continues it, and a problem with that."""
    context = {
        "form": form,
        "problem": problem,
        "continuations": selectors.continuations(generation),
        "editable": len(generation.prompt) <= settings.PROMPT_MAX_LENGTH,
        "generation": generation,
        "stats": events.stats(generation),
        "replay": selectors.replay_verdict(generation),
        "stops": [stop_line(stop) for stop in generation.stop],
        "again_form": ClientKeyForm(initial={"client_key": uuid.uuid4().hex}),
    }
    return render(request, "generator/detail.html", context, status=status)


@require_safe
@own_generation
def export_text(request: HttpRequest, generation: Generation) -> HttpResponse:
    """Return prompt and text as a file of plain text."""
    whole = generation.prompt + generation.text
    return _download(generation, whole, "txt", "text/plain; charset=utf-8")


@require_safe
@own_generation
def export_json(request: HttpRequest, generation: Generation) -> HttpResponse:
    """Return everything needed to prove or repeat the text, as a file of JSON."""
    document = json.dumps(selectors.generation_as_dict(generation), indent=2, ensure_ascii=False)
    return _download(generation, document, "json", "application/json")


def _download(generation: Generation, content: str, suffix: str, content_type: str) -> HttpResponse:
    name = f"charrnn-{str(generation.pk)[:8]}.{suffix}"
    return HttpResponse(
        content,
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@require_safe
@never_cache
def history(request: HttpRequest) -> HttpResponse:
    """The asker's texts, newest first, searched and filtered. Odd filters are ignored."""
    query = request.GET.get("q", "").replace("\0", "")[: settings.PROMPT_MAX_LENGTH].strip()
    state = request.GET.get("state", "")
    version = small_number(request.GET.get("version", ""))
    rows = selectors.generation_list(
        request_owner(request), query=query, version=version, state=state
    )
    page = Paginator(rows, settings.HISTORY_PAGE_SIZE).get_page(request.GET.get("page"))
    kept = request.GET.copy()
    kept.pop("page", None)
    context = {
        "page": page,
        "query": query,
        "state": state,
        "version": version,
        "states": Generation.State.choices,
        "versions": selectors.versions_all(),
        "filtered": bool(query or state or version is not None),
        "kept": kept.urlencode(),
        "key": uuid.uuid4().hex,
        "back": request.GET.urlencode(),
    }
    return render(request, "generator/history.html", context)
