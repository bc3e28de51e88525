"""Limits: whether a request is admitted now, and after how many seconds it may be sent again.

What an owner submits and what waits is counted in the database, in the transaction that accepts a
generation, so that these limits are exact. What an address does is counted in Redis
(`generator/redis_store/limits.py`), and what threads and sockets do in memory.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from django.conf import settings
from django.http import HttpResponse

from generator import clock
from generator.models import Generation, ModelVersion, Owner, Submit
from generator.redis_store import limits

Response = TypeVar("Response", bound=HttpResponse)
State = Generation.State
MINUTE = timedelta(minutes=1)
SUBMITS = "submits"


class AdmissionError(Exception):
    """The request is not admitted now.

    `retry_after` is in seconds, 0 when waiting does not help. `status` is that of the HTTP answer.
    """

    status = 503

    def __init__(self, message: str, retry_after: float = 5) -> None:
        super().__init__(message)
        self.retry_after = math.ceil(retry_after)

    @property
    def sentences(self) -> str:
        """What happened, and what happens next."""
        if not self.retry_after:
            return str(self)
        return (
            f"{self} Try again in {self.retry_after} second{'' if self.retry_after == 1 else 's'}."
        )

    def answer(self, response: Response) -> Response:
        """Set the status of `response`, and its Retry-After header, to those of this refusal."""
        response.status_code = self.status
        if self.retry_after:
            response.headers["Retry-After"] = str(self.retry_after)
        return response


class TooMany(AdmissionError):
    """The owner or the address has reached its own limit."""

    status = 429


class KeyUsed(AdmissionError):
    """The key of the form was used for another text: the form was changed after it was sent."""

    status = 409

    def __init__(self) -> None:
        super().__init__(
            "This form was already used for another text. Send it again to start this one too.",
            retry_after=0,
        )


class StillWriting(AdmissionError):
    """A text that is to be continued has no end yet."""

    status = 409

    def __init__(self) -> None:
        super().__init__(
            "This text is still being written. Continue it when it has ended, or stop it.",
            retry_after=0,
        )


@contextmanager
def address_counted(address: str) -> Iterator[None]:
    """Count a submit of an address for a minute, unless the block raises.

    This is the first check: it comes before any row is locked. Raises TooMany.
    """
    with counted(SUBMITS, address, settings.ADDRESS_SUBMITS_PER_MINUTE, "Too many texts were sent"):
        yield


@contextmanager
def counted(what: str, address: str, limit: int, much: str) -> Iterator[None]:
    """Count an action of an address for a minute, unless the block raises.

    Raises TooMany beyond the limit; its message begins with `much`.
    """
    name = uuid.uuid4().hex
    if wait := limits.address_count(what, address, name, limit):
        raise TooMany(f"{much} from your network within a minute.", wait)
    try:
        yield
    except BaseException:
        limits.address_uncount(what, address, name)
        raise


def admit(owner: Owner) -> ModelVersion:
    """Count a submit and return the live version.

    Call it in the transaction that stores the generation: its lock makes counting and storing one
    step. Raises AdmissionError when a limit is reached or no version is live.
    """
    live = next((row for row in ModelVersion.lock_all() if row.is_live), None)
    if live is None:
        raise AdmissionError(
            "No model is live yet. The staff can make one live in the admin.", retry_after=30
        )
    now = clock.now()
    submits_forget(now)
    _limit_a_minute(owner, now)
    under_way = Generation.objects.filter(state__in=(State.QUEUED, State.RUNNING))
    if under_way.owned_by(owner).count() >= settings.OWNER_MAX_ACTIVE:
        raise TooMany(
            f"You have {settings.OWNER_MAX_ACTIVE} texts being written."
            " Wait for one to end, or stop one."
        )
    if under_way.count() >= settings.QUEUE_MAX_LENGTH:
        raise AdmissionError("Too many texts are waiting to be written right now.", retry_after=15)
    Submit.objects.create(created_at=now, **owner.fields)
    return live


def submits_forget(now: datetime) -> None:
    """Remove all submits that are more than a minute old: they no longer count."""
    Submit.objects.filter(created_at__lte=now - MINUTE).delete()


def _limit_a_minute(owner: Owner, now: datetime) -> None:
    """Raise TooMany for a submit above the owner's limit.

    It is admitted again once the oldest of the last `limit` submits is a minute old.
    """
    limit = settings.OWNER_SUBMITS_PER_MINUTE
    latest = (
        Submit.objects.filter(**owner.fields)
        .values_list("created_at", flat=True)
        .order_by("-created_at")[:limit]
    )
    if len(latest) == limit:
        wait = (latest[limit - 1] + MINUTE - now).total_seconds()
        raise TooMany(f"You have sent {limit} texts within a minute, which is the limit.", wait)


class Turns:
    """Lets `at_once` threads at a time do something expensive, and `waiting` more wait for it."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._turns = threading.BoundedSemaphore(at_once)
        self._places = threading.BoundedSemaphore(at_once + waiting)

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Wait for a turn and hold it in the block. Yields False at once when too many wait."""
        if not self._places.acquire(blocking=False):
            yield False
            return
        try:
            with self._turns:
                yield True
        finally:
            self._places.release()


class Rate:
    """Counts messages second by second."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._second, self._count = 0, 0

    def exceeded(self) -> bool:
        """Count one message. Returns whether this second now has more than the limit."""
        second = int(time.monotonic())
        self._count = self._count + 1 if second == self._second else 1
        self._second = second
        return self._count > self._limit
