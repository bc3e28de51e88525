"""Forms to sign up and to sign in, on the site and in the admin, with limits for each address."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm, UserCreationForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from generator import admission
from generator.admission import AdmissionError, TooMany
from generator.owners import request_address
from generator.redis_store import limits

SIGN_INS, SIGN_UPS = "sign-ins", "sign-ups"
SECOND_CLICK = timedelta(seconds=30)  # a sign-up that comes again within is a second click
BUSY = 3  # seconds in which the passwords that wait are hashed

_passwords = admission.Turns(settings.PASSWORDS_AT_ONCE, settings.PASSWORDS_WAITING)


@contextmanager
def password_turn() -> Iterator[None]:
    """Wait for a turn to hash a password: it takes a core. Raises AdmissionError if many wait."""
    with _passwords.turn() as mine:
        if not mine:
            raise AdmissionError("Too many people are signing in at the moment.", BUSY)
        yield


class SignUpForm(UserCreationForm):  # type: ignore[type-arg]
    """A user name and a password.

    Errors about the password are shown at the first of its two fields: both are typed again.
    """

    def validate_passwords(self, *_: str) -> None:
        """Compare the two. The error goes to the field named last."""
        super().validate_passwords("password2", "password1")  # type: ignore[misc]

    def validate_password_for_user(self, user: User, *_: str) -> None:
        """Check the password itself."""
        super().validate_password_for_user(user, "password1")  # type: ignore[misc]

    def account(self, address: str) -> User | None:
        """Return a new account, or the one that the first of two clicks made. None: see the errors.

        Raises AdmissionError when too many were made from the address, or too many passwords wait
        to be hashed.
        """
        good = self.is_valid()
        if not good and not self.has_error("username", "unique"):
            return None
        most, much = settings.ADDRESS_SIGN_UPS_PER_MINUTE, "Too many accounts were made"
        with admission.counted(SIGN_UPS, address, most, much), password_turn():
            return (self._new() if good else None) or self._just_made()

    def _new(self) -> User | None:
        user: User = self.save(commit=False)
        try:
            with transaction.atomic():
                user.save()
        except IntegrityError:  # another request took the name after it was checked
            self.add_error("username", user.unique_error_message(User, ("username",)))
            return None
        return user

    def _just_made(self) -> User | None:
        """Return the account of the name if it was just made, with this form's password."""
        name = self.fields["username"].to_python(self.data["username"])
        password = self.data.get("password1", "")
        fresh = timezone.now() - SECOND_CLICK
        user = User.objects.filter(username=name, is_active=True, date_joined__gte=fresh).first()
        return user if user and user.check_password(password) else None


class SignInForm(AuthenticationForm):
    """User name and password. Each attempt counts for its address, until it proves right."""

    refused: AdmissionError | None = None

    def clean(self) -> dict[str, Any]:
        """Check the password. After too many attempts even the right one is refused, unchecked."""
        address = request_address(self.request) if self.request else ""
        try:
            return self._counted_clean(address, uuid.uuid4().hex)
        except AdmissionError as error:
            self.refused = error
            raise ValidationError(error.sentences) from None

    def _counted_clean(self, address: str, name: str) -> dict[str, Any]:
        most = settings.ADDRESS_SIGN_INS_PER_MINUTE
        if wait := limits.address_count(SIGN_INS, address, name, most):
            raise TooMany("Too many attempts to sign in came from your network.", wait)
        try:
            with password_turn():
                cleaned = super().clean()
        except AdmissionError:
            limits.address_uncount(SIGN_INS, address, name)
            raise
        limits.address_uncount(SIGN_INS, address, name)
        return cleaned


class StaffSignInForm(SignInForm, AdminAuthenticationForm):
    """The same for the admin."""
