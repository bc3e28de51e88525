"""What log lines leave out."""

from __future__ import annotations

import logging

from django.core.exceptions import PermissionDenied

from generator.database import passing


class RefusalsWithoutTraceback(logging.Filter):
    """Logs a refused request as one line, because the code is not at fault.

    Refused are wrong hosts, bodies that are too large, what is not allowed, and what finds the
    database busy.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if (
            passing(error)
            or isinstance(error, PermissionDenied)
            or record.name.startswith("django.security")
        ):
            record.exc_info = record.exc_text = None
        return True
