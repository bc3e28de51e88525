"""What log lines leave out."""

from __future__ import annotations

import logging

from django.core.exceptions import PermissionDenied

from generator.database import passing


class RefusalsWithoutTraceback(logging.Filter):
    """A refused request (wrong host, too large, not allowed, database busy) is one line: it is no fault of the code."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if (
            passing(error)
            or isinstance(error, PermissionDenied)
            or record.name.startswith("django.security")
        ):
            record.exc_info = record.exc_text = None
        return True
