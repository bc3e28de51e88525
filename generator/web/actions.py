"""What the forms of the pages do: start a text, stop it, delete it, continue it, repeat it."""

from __future__ import annotations

import uuid
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from generator import selectors, services
from generator.admission import AdmissionError, KeyUsed, StillWriting, TooMany
from generator.models import Generation, Owner
from generator.owners import new_visitor, remember_visitor, request_address, request_owner
from generator.parameters import Parameters
from generator.web import answers
from generator.web.answers import wants_json
from generator.web.forms import ClientKeyForm, GenerationForm, continue_form, submitted_form
from generator.web.views import desk_page, detail_page, filled_form, own_generation

# Where each page to sign in leads.
SIGN_INS = {"login": "desk", "signup": "desk", "admin:login": "admin:index"}
TOO_OLD = "This page had become too old. What you typed is still here: please send it again."


@require_POST
def generation_create(request: HttpRequest) -> HttpResponse:
    """Start a text: 201 with its addresses, or a redirect to its page; else what to do."""
    owner = request_owner(request) or new_visitor()
    return remember_visitor(_create(request, owner), owner)


def _create(request: HttpRequest, owner: Owner) -> HttpResponse:
    form = submitted_form(request, owner)
    if not form.is_valid():
        if wants_json(request):
            return answers.form_errors(form)
        return desk_page(request, form, status=400)
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
        return _not_admitted_json(request, error)
    if isinstance(error, KeyUsed):
        form.data = {**form.data, "client_key": uuid.uuid4().hex}
    return error.answer(
        desk_page(request, form, problem=error.sentences, name_active=isinstance(error, TooMany))
    )


def _not_admitted_json(request: HttpRequest, error: AdmissionError) -> HttpResponse:
    more = {}
    if isinstance(error, TooMany):
        more["active"] = selectors.generations_active(request_owner(request))
    return error.answer(answers.error_json(str(error), error.status, **more))


def _accepted(request: HttpRequest, generation: Generation, part: str = "") -> HttpResponse:
    """Return the addresses of a new text, or lead to its page, there to `part`."""
    url = generation.get_absolute_url()
    if not wants_json(request):
        return redirect(url + part)
    addresses = {
        "id": str(generation.pk),
        "url": url,
        "socket": generation.socket_path,
        "seed": str(generation.seed),
    }
    return JsonResponse(addresses, status=201, headers={"Location": url})


@require_POST
@own_generation
def generation_cancel(request: HttpRequest, generation: Generation) -> HttpResponse:
    """Stop a text, without waiting for its worker: the `end` frame says when it stopped."""
    services.generation_cancel(generation=generation)
    if wants_json(request):
        return JsonResponse({"id": str(generation.pk)}, status=202)
    if request.POST.get("back") == "desk":  # from its list of unfinished texts
        form = submitted_form(request, generation.owner)
        said = "That text was stopped. You can send yours now."
        return desk_page(request, form, problem=said, name_active=True)
    return redirect(generation)


@require_POST
@never_cache
def generation_delete(request: HttpRequest, generation_id: UUID) -> HttpResponse:
    """Remove a text for good. A second click, or an id of another, leads to the history, too."""
    generation = selectors.generation_of(request_owner(request), generation_id)
    if generation:
        services.generation_delete(generation=generation)
    if wants_json(request):
        return HttpResponse(status=204) if generation else answers.error_json("Not found.", 404)
    deleted, gone = "The text was deleted.", "That text is no longer in your history."
    messages.success(request, deleted if generation else gone)
    return redirect(_history_address(QueryDict(request.POST.get("back", ""))))


def _history_address(asked: QueryDict) -> str:
    """Return the address of the history with the filters and the page of `asked` only."""
    kept = {name: asked[name] for name in ("q", "version", "state", "page") if asked.get(name)}
    return reverse("history") + (f"?{urlencode(kept)}" if kept else "")


@require_POST
@own_generation
def generation_again(request: HttpRequest, generation: Generation) -> HttpResponse:
    """Write a text again, on its version: with its seed for `seed=same`, else with a new one."""
    form = ClientKeyForm(request.POST)
    if not form.is_valid():
        return answers.form_errors(form)
    parameters = Parameters.again(generation, same_seed=request.POST.get("seed") == "same")
    try:
        again = services.generation_start(
            owner=generation.owner,
            parameters=parameters,
            client_key=form.cleaned_data["client_key"],
            address=request_address(request),
        )
    except AdmissionError as error:
        return _not_admitted(request, filled_form(generation), error)
    return _accepted(request, again)


@require_POST
@own_generation
def generation_continue(request: HttpRequest, generation: Generation) -> HttpResponse:
    """Go on from a text that has ended: 201 or a redirect, as for a new text."""
    form = continue_form(request, generation)
    try:
        if not generation.has_ended:
            raise StillWriting
        if not form.is_valid():
            if wants_json(request):
                return answers.form_errors(form)
            return detail_page(request, generation, form, status=400)
        child = services.generation_start(
            owner=generation.owner,
            parameters=form.parameters(),
            client_key=form.cleaned_data["client_key"],
            address=request_address(request),
        )
    except AdmissionError as error:
        if wants_json(request):
            return _not_admitted_json(request, error)
        if isinstance(error, KeyUsed):
            form.data = {**form.data, "client_key": uuid.uuid4().hex}
        return error.answer(detail_page(request, generation, form, problem=error.sentences))
    return _accepted(request, child, part="#new-part")


def form_too_old(request: HttpRequest) -> HttpResponse | None:
    """Return the answer for a form whose token is too old, or None for just an error.

    Tokens change at a sign-in, perhaps in another tab. The desk comes back with what was typed. The
    second of two clicks on "Sign in" leads where the first did.
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
        desk_page(request, submitted_form(request, owner), status=403, problem=TOO_OLD), owner
    )
