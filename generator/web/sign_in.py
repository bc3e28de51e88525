"""Forms to sign up and in. Who guesses passwords, at the site's door or the admin's, has to wait, and who makes many accounts."""

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
SECOND_CLICK = timedelta(seconds=30)  # a sign-up may come again so long after it was done
BUSY = 3  # seconds until those who wait for their turn have had it

_passwords = limits.Turns(settings.PASSWORDS_AT_ONCE, settings.PASSWORDS_WAITING)


@contextmanager
def password_turn() -> Iterator[None]:
    """Hash no more passwords at once than may be: they would take the processor from pages and texts. Raises AdmissionError."""
    with _passwords.turn() as mine:
        if not mine:
            raise AdmissionError("Very many people are signing in at this moment.", BUSY)
        yield


class SignUpForm(UserCreationForm):  # type: ignore[type-arg]
    """A user name and a password; there is nothing else to know about anybody.

    What is wrong with the password is said at the first of its two fields, for both have to be
    typed again.
    """

    def validate_passwords(self, *_: str) -> None:
        """Compare the two; the error goes to the field named last."""
        super().validate_passwords("password2", "password1")  # type: ignore[misc]

    def validate_password_for_user(self, user: User, *_: str) -> None:
        """Check the password itself."""
        super().validate_password_for_user(user, "password1")  # type: ignore[misc]

    def account(self, address: str) -> User | None:
        """Return the account to sign in to: a new one, or the one that the first of two clicks made. None: see the errors.

        Raises AdmissionError when very many were made from the address, or very many passwords are
        looked at.
        """
        good = self.is_valid()
        if not good and not self.has_error("username", "unique"):
            return None
        with (
            admission.counted(
                SIGN_UPS,
                address,
                settings.ADDRESS_SIGN_UPS_PER_MINUTE,
                "Very many accounts were made",
            ),
            password_turn(),
        ):
            return (self._new() if good else None) or self._just_made()

    def _new(self) -> User | None:
        user: User = self.save(commit=False)
        try:
            with transaction.atomic():
                user.save()
        except IntegrityError:  # the other click was between our look at the name and now
            self.add_error("username", user.unique_error_message(User, ("username",)))
            return None
        return user

    def _just_made(self) -> User | None:
        """Return an account that is new, and of which this form has the password, too. An older one has its own door."""
        name, password = (
            self.fields["username"].to_python(self.data["username"]),
            self.data.get("password1", ""),
        )
        fresh = timezone.now() - SECOND_CLICK
        user = User.objects.filter(username=name, is_active=True, date_joined__gte=fresh).first()
        return user if user and user.check_password(password) else None


class SignInForm(AuthenticationForm):
    """User name and password. An attempt counts for its address before the password is looked at, a good one no longer."""

    refused: AdmissionError | None = None

    def clean(self) -> dict[str, Any]:
        """Check the password, unless the address has tried too often: then not even the right one tells anything."""
        try:
            return self._counted_clean(
                request_address(self.request) if self.request else "", uuid.uuid4().hex
            )
        except AdmissionError as error:
            self.refused = error
            raise ValidationError(error.sentences) from None

    def _counted_clean(self, address: str, name: str) -> dict[str, Any]:
        if wait := limits.address_count(
            SIGN_INS, address, name, settings.ADDRESS_SIGN_INS_PER_MINUTE
        ):
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
