"""The base class of every error of `ml` that a user can do something about."""

from __future__ import annotations


class UserError(Exception):
    """A failure whose message is one sentence for people: what happened and, if known, what to do.

    `python -m ml` prints it without a traceback.
    """
