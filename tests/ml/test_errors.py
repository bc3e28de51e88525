"""The command line prints every public error of `ml` as a sentence, without a traceback."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import ml
from ml.errors import UserError


def test_every_public_error_is_a_user_error() -> None:
    modules = [
        importlib.import_module(found.name) for found in pkgutil.walk_packages(ml.__path__, "ml.")
    ]
    errors = {
        value
        for module in modules
        for name, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Exception)
        and value.__module__.startswith("ml.")
        and not name.startswith("_")
    }
    assert len(errors) > 10
    assert [error for error in errors if not issubclass(error, UserError)] == []
