"""What log lines leave out."""

from __future__ import annotations

import logging

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError

BUSY = (OperationalError, InterfaceError)  # the database is locked or away


class RefusalsWithoutTraceback(logging.Filter):
    """A refused request (wrong host, too large, not allowed, database busy) is one line: it is no fault of the code."""

    def filter(self, record: logging.LogRecord) -> bool:
        expected = record.exc_info and isinstance(record.exc_info[1], (*BUSY, PermissionDenied))
        if expected or record.name.startswith("django.security"):
            record.exc_info = record.exc_text = None
        return True
