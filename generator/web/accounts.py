"""The pages to sign up and to sign in. What follows a sign-in is in generator/web/identity.py."""

from __future__ import annotations

from typing import cast

from django.contrib.auth import login
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from generator.admission import AdmissionError
from generator.owners import request_address
from generator.web.sign_in import SignInForm, SignUpForm


@require_http_methods(["GET", "POST"])
@never_cache
@sensitive_post_parameters()
def sign_up(request: HttpRequest) -> HttpResponse:
    """Make an account and sign in. IdentityMiddleware gives the visitor's texts to the user."""
    form = SignUpForm(request.POST or None)
    try:
        if user := form.account(request_address(request)):
            login(request, user)
            return redirect("desk")
    except AdmissionError as error:
        form.add_error(None, error.sentences)
        return error.answer(render(request, "registration/signup.html", {"form": form}))
    status = 400 if form.errors else 200
    return render(request, "registration/signup.html", {"form": form}, status=status)


class SignInView(LoginView):
    """The page to sign in. A refusal because of too many attempts has a Retry-After."""

    authentication_form = SignInForm

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        page, refused = super().form_invalid(form), cast("SignInForm", form).refused
        return refused.answer(page) if refused else page
