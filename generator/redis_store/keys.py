"""Names of the keys in Redis. Groups of the channel layer are named in `generator/events.py`."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings

PREFIX = str(settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"])  # Celery's keys, too
SEATS = f"{PREFIX}seats"  # which process listens where; see limits.py


def log_key(generation_id: UUID) -> str:
    """Return the stream that keeps a generation's frames for a while."""
    return f"{PREFIX}log:{generation_id.hex}"


def queue_key(queue: str) -> str:
    """Return the list in which the messages of a Celery queue wait."""
    return f"{PREFIX}{queue}"


def address_key(action: str, address: str) -> str:
    """Return the sorted set that holds what an address did in the last minute."""
    return f"{PREFIX}{action}:{address}"


def sockets_key(whose: str) -> str:
    """Return the sorted set that holds the open sockets of an owner or of an address."""
    return f"{PREFIX}sockets:{whose}"
