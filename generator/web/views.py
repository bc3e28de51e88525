"""Pages and the small JSON interface. Each view looks up, asks a service, and answers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from generator import events, selectors, services
from generator.admission import AdmissionError, KeyUsed, TooMany
from generator.models import Generation, Owner
from generator.owners import new_visitor, remember_visitor, request_address, request_owner
from generator.text import stop_line
from generator.web.forms import DEFAULTS, ClientKeyForm, GenerationForm, submitted_form

View = Callable[..., HttpResponse]
SIGN_INS = {"login": "desk", "signup": "desk", "admin:login": "admin:index"}  # and where each leads
TOO_OLD = "This page was too old for the server. What you typed is kept; please send it again."


def own_generation(view: View) -> View:
    """Hand the view the asker's generation; what is another's is as unknown as what does not exist."""

    @wraps(view)
    def inner(request: HttpRequest, generation_id: UUID) -> HttpResponse:
        generation = selectors.generation_of(request_owner(request), generation_id)
        if generation is None:
            raise Http404("There is no such generation of yours.")
        return view(request, generation)

    return never_cache(inner)


def wants_json(request: HttpRequest) -> bool:
    """Tell whether the asker prefers JSON to a page."""
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


@require_safe
@never_cache
def desk(request: HttpRequest) -> HttpResponse:
    """The page where a text begins; `?from=<id>` fills in the parameters of an earlier one, `&live` with the live version.

    A visitor gets their cookie here, before anything is sent: when a first reply is lost, the next
    try is still theirs.
    """
    form = _filled_form(_source(request), live="live" in request.GET)
    return remember_visitor(_desk(request, form), request_owner(request) or new_visitor())


def _filled_form(source: Generation | None, *, live: bool = False) -> GenerationForm:
    """Return the desk's form with the parameters of an earlier generation, or with the defaults."""
    initial: dict[str, Any] = {**DEFAULTS, "client_key": uuid.uuid4().hex}
    if source:
        names = ("prompt", "length", "temperature", "top_k", "top_p", "stop", "seed")
        initial |= {name: getattr(source, name) for name in names}
        version = "" if live else source.model_version.version
        initial |= {"version": version, "parent": source.pk}
    return GenerationForm(initial=initial)


def _source(request: HttpRequest) -> Generation | None:
    try:
        return selectors.generation_of(request_owner(request), UUID(request.GET.get("from", "")))
    except ValueError:
        return None


def _desk(
    request: HttpRequest,
    form: GenerationForm,
    *,
    status: int = 200,
    problem: str = "",
    name_active: bool = False,
) -> HttpResponse:
    owner = request_owner(request)
    context = {
        "form": form,
        "live": form.live,
        "recent": selectors.generation_list(owner)[:3],
        "problem": problem,
        "active": selectors.generations_active(owner) if name_active else [],
    }
    return render(request, "generator/desk.html", context, status=status)


@require_POST
def generation_create(request: HttpRequest) -> HttpResponse:
    """Accept a generation: 201 with its addresses (JSON) or a redirect to its page; 400, 429 or 503 with what to do."""
    owner = request_owner(request) or new_visitor()
    return remember_visitor(_create(request, owner), owner)


def _create(request: HttpRequest, owner: Owner) -> HttpResponse:
    form = submitted_form(request, owner)
    if not form.is_valid():
        if wants_json(request):
            return JsonResponse({"errors": form.errors}, status=400)
        return _desk(request, form, status=400)
    try:
        generation = services.generation_start(
            owner=owner,
            parameters=form.parameters(),
            client_key=form.cleaned_data["client_key"],
            address=request_address(request),
        )
    except AdmissionError as error:
        return _not_admitted(request, form, error)
    return _accepted(request, generation)


def _not_admitted(
    request: HttpRequest, form: GenerationForm, error: AdmissionError
) -> HttpResponse:
    if wants_json(request):
        said: dict[str, Any] = {"errors": {"__all__": [str(error)]}}
        if isinstance(error, TooMany):
            said["active"] = selectors.generations_active(request_owner(request))
        return error.answer(JsonResponse(said))
    if isinstance(error, KeyUsed):
        form.data = {**form.data, "client_key": uuid.uuid4().hex}
    return error.answer(
        _desk(request, form, problem=error.sentences, name_active=isinstance(error, TooMany))
    )


def _accepted(request: HttpRequest, generation: Generation) -> HttpResponse:
    if not wants_json(request):
        return redirect(generation)
    url = generation.get_absolute_url()
    addresses = {
        "id": str(generation.pk),
        "url": url,
        "socket": generation.socket_path,
        "seed": str(generation.seed),
    }
    return JsonResponse(addresses, status=201, headers={"Location": url})


@require_safe
@own_generation
def generation_detail(request: HttpRequest, generation: Generation) -> HttpResponse:
    """The permalink: the text as it grows or as it ended, with everything needed to write it again."""
    if wants_json(request):
        return JsonResponse(selectors.generation_as_dict(generation))
    replays = selectors.replay_verdict(generation)
    context = {
        "generation": generation,
        "stats": events.stats(generation),
        "replay": replays,
        "stops": [stop_line(stop) for stop in generation.stop],
        "again_form": ClientKeyForm(initial={"client_key": uuid.uuid4().hex}),
    }
    return render(request, "generator/detail.html", context)


@require_POST
@own_generation
def generation_cancel(request: HttpRequest, generation: Generation) -> HttpResponse:
    """Stop writing; the answer does not wait for the worker, the socket's `end` frame tells when it has stopped."""
    services.generation_cancel(generation=generation)
    if wants_json(request):
        return JsonResponse({"id": str(generation.pk)}, status=202)
    if (
        request.POST.get("back") == "desk"
    ):  # from the list of those that keep another from being sent
        form = submitted_form(request, generation.owner)
        return _desk(
            request, form, problem="It was stopped. You can send your text now.", name_active=True
        )
    return redirect(generation)


@require_POST
@never_cache
def generation_delete(request: HttpRequest, generation_id: UUID) -> HttpResponse:
    """Remove a generation for good. A second click leads where the first did, as does any id that is not the asker's."""
    generation = selectors.generation_of(request_owner(request), generation_id)
    if generation:
        services.generation_delete(generation=generation)
    if wants_json(request):
        return HttpResponse(status=204) if generation else _error(request, 404, "Not found.")
    messages.success(
        request,
        "The text was deleted."
        if generation
        else "There is no such text in your history any more.",
    )
    return redirect(_history_address(QueryDict(request.POST.get("back", ""))))


def _history_address(asked: QueryDict) -> str:
    """Return the address of the history with the search and the page of `asked`; it can lead nowhere else."""
    kept = {name: asked[name] for name in ("q", "version", "state", "page") if asked.get(name)}
    return reverse("history") + (f"?{urlencode(kept)}" if kept else "")


@require_POST
@own_generation
def generation_again(request: HttpRequest, generation: Generation) -> HttpResponse:
    """Write again with the same parameters: `seed=same` replays it on the same version, else a new seed is drawn."""
    form = ClientKeyForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    parameters = services.parameters_of(generation, same_seed=request.POST.get("seed") == "same")
    try:
        again = services.generation_start(
            owner=generation.owner,
            parameters=parameters,
            client_key=form.cleaned_data["client_key"],
            address=request_address(request),
        )
    except AdmissionError as error:
        return _not_admitted(request, _filled_form(generation), error)
    return _accepted(request, again)


@require_safe
@own_generation
def export_text(request: HttpRequest, generation: Generation) -> HttpResponse:
    """Prompt and text as one plain-text file."""
    return _download(
        generation, generation.prompt + generation.text, "txt", "text/plain; charset=utf-8"
    )


@require_safe
@own_generation
def export_json(request: HttpRequest, generation: Generation) -> HttpResponse:
    """Everything needed to prove or repeat the text."""
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
    """The asker's generations, newest first, searched and filtered. An odd page or filter shows the nearest sensible list."""
    query = request.GET.get("q", "").replace("\0", "")[: settings.PROMPT_MAX_LENGTH].strip()
    state = request.GET.get("state", "")
    version = request.GET.get("version", "")
    number = (
        int(version) if version.isascii() and version.isdecimal() and len(version) < 10 else None
    )
    rows = selectors.generation_list(
        request_owner(request), query=query, version=number, state=state
    )
    page = Paginator(rows, settings.HISTORY_PAGE_SIZE).get_page(request.GET.get("page"))
    kept = request.GET.copy()
    kept.pop("page", None)
    context = {
        "page": page,
        "query": query,
        "state": state,
        "version": number,
        "states": Generation.State.choices,
        "versions": selectors.versions_all(),
        "filtered": bool(query or state or number is not None),
        "kept": kept.urlencode(),
        "key": uuid.uuid4().hex,
        "back": request.GET.urlencode(),
    }
    return render(request, "generator/history.html", context)


def form_too_old(request: HttpRequest) -> HttpResponse | None:
    """Return the answer for a form whose token is too old, as after a sign-in in another tab, where nothing need be lost.

    The desk comes back with what was typed, and who was signed in by the first click of two is led
    where that click led.
    """
    where = request.resolver_match.view_name if request.resolver_match else ""
    user = request.user
    if (
        where in SIGN_INS
        and user.is_authenticated
        and user.get_username() == request.POST.get("username")
    ):
        return redirect(SIGN_INS[where])
    if where != "generation-create" or wants_json(request):
        return None
    owner = request_owner(request) or new_visitor()
    return remember_visitor(
        _desk(request, submitted_form(request, owner), status=403, problem=TOO_OLD), owner
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400 as a page or as JSON."""
    return _error(request, 400, "The request was too large or not understood.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404 as a page or as JSON."""
    return _error(request, 404, "Not found.")


def _error(request: HttpRequest, status: int, message: str) -> HttpResponse:
    if wants_json(request):
        return JsonResponse({"errors": {"__all__": [message]}}, status=status)
    return render(request, f"{status}.html", status=status)
