"""Signing up and in. Who guesses passwords has to wait; the limit holds for the site's own door and for the admin's."""

from __future__ import annotations

import math
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm, UserCreationForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from generator import limits
from generator.owners import request_address

SIGN_INS = "sign-ins"
SECOND_CLICK = timedelta(seconds=30)  # a sign-up may come again so long after it was done


class SignUpForm(UserCreationForm):  # type: ignore[type-arg]
    """A user name and a password; there is nothing else to know about anybody."""

    def account(self) -> User | None:
        """Return the account to sign in to: a new one, or the one that the first of two clicks made. None: see the errors."""
        if self.is_valid():
            user: User = self.save(commit=False)
            try:
                with transaction.atomic():
                    user.save()
            except IntegrityError:  # the other click was between our look at the name and now
                self.add_error("username", user.unique_error_message(User, ("username",)))
            else:
                return user
        return self._just_made() if self.has_error("username", "unique") else None

    def _just_made(self) -> User | None:
        """Return an account that is new, and of which this form has the password, too. An older one has its own door."""
        name, password = self.fields["username"].to_python(self.data["username"]), self.data.get("password1", "")
        fresh = timezone.now() - SECOND_CLICK
        user = User.objects.filter(username=name, is_active=True, date_joined__gte=fresh).first()
        return user if user and user.check_password(password) else None


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
