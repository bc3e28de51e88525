"""What can be wrong with a version or with the registry.

The exit codes are those of `python -m ml fetch`: they tell the process that started it whether
another try makes sense.
"""

from __future__ import annotations

from ml.errors import UserError


class VersionError(UserError):
    """The files of a version must not be used; the message names the check that failed."""

    exit_code = 3


class SourceError(VersionError):
    """The files of a version lie where they must not be read from."""


class RegistryError(UserError):
    """The registry cannot be used now; another try may succeed."""

    exit_code = 1


class VersionRefused(RegistryError):
    """The registry's entry of a version must not be used; another try would give the same."""

    exit_code = 3


class NotInRegistry(VersionRefused):
    """The registry does not hold what was asked for."""

    exit_code = 4
