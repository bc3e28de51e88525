"""Signing up and in. Who guesses passwords has to wait; the limit holds for the site's own door and for the admin's."""

from __future__ import annotations

import math
import uuid
from typing import Any

from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm, UserCreationForm
from django.core.exceptions import ValidationError

from generator import limits
from generator.owners import request_address

SIGN_INS = "sign-ins"


class SignUpForm(UserCreationForm):  # type: ignore[type-arg]
    """A user name and a password; there is nothing else to know about anybody."""


class SignInForm(AuthenticationForm):
    """User name and password. An attempt counts for its address before the password is looked at, a good one no longer."""

    def clean(self) -> dict[str, Any]:
        """Check the password, unless the address has tried too often: then not even the right one tells anything."""
        address, name = request_address(self.request) if self.request else "", uuid.uuid4().hex
        if wait := limits.address_count(SIGN_INS, address, name, settings.ADDRESS_SIGN_INS_PER_MINUTE):
            seconds = math.ceil(wait)
            raise ValidationError(f"Too many attempts to sign in came from your network. Try again in {seconds} s.")
        cleaned = super().clean()
        limits.address_uncount(SIGN_INS, address, name)
        return cleaned


class StaffSignInForm(SignInForm, AdminAuthenticationForm):
    """The same for the admin."""
