"""Who may submit now, and when to come back. What rows tell is counted in the transaction that accepts, so that it is exact."""

from __future__ import annotations

import math
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
    """The generation is not accepted now. `retry_after` is in seconds, 0 if waiting does not help; `status` the HTTP answer."""

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
        """Give a response the status of this refusal, and the time after which it is none."""
        response.status_code = self.status
        if self.retry_after:
            response.headers["Retry-After"] = str(self.retry_after)
        return response


class TooMany(AdmissionError):
    """The asker's own limit, not that of all together."""

    status = 429


class KeyUsed(AdmissionError):
    """The key of the form has made another text: what was typed was changed after it had been sent."""

    status = 409

    def __init__(self) -> None:
        super().__init__(
            "This form has made another text already. Send it again to make this one, too.",
            retry_after=0,
        )


@contextmanager
def address_counted(address: str) -> Iterator[None]:
    """Count a submit of an address for a minute, unless it ends with an error: the first door, before any row is locked."""
    with counted(
        SUBMITS, address, settings.ADDRESS_SUBMITS_PER_MINUTE, "Very many texts were sent"
    ):
        yield


@contextmanager
def counted(what: str, address: str, limit: int, much: str) -> Iterator[None]:
    """Count a thing of an address for a minute, unless it ends with an error. Raises TooMany, which says what was too `much`."""
    name = uuid.uuid4().hex
    if wait := limits.address_count(what, address, name, limit):
        raise TooMany(f"{much} from your network within a minute.", wait)
    try:
        yield
    except BaseException:
        limits.address_uncount(what, address, name)
        raise


def admit(owner: Owner) -> ModelVersion:
    """Count a submit and return the live version. Raises AdmissionError when limits are reached or no version is live.

    To be called in the transaction that stores the generation: the lock makes counting and storing
    one step for all submits.
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
            f"You have {settings.OWNER_MAX_ACTIVE} texts being written. Wait for one to end, or stop one."
        )
    if under_way.count() >= settings.QUEUE_MAX_LENGTH:
        raise AdmissionError("Very many texts are waiting to be written.", retry_after=15)
    Submit.objects.create(created_at=now, **owner.fields)
    return live


def submits_forget(now: datetime) -> None:
    """Remove everybody's submits of more than a minute ago: a row stays no longer than it counts."""
    Submit.objects.filter(created_at__lte=now - MINUTE).delete()


def _limit_a_minute(owner: Owner, now: datetime) -> None:
    """Refuse a submit above the owner's limit until the oldest of the last minute is a minute old."""
    limit = settings.OWNER_SUBMITS_PER_MINUTE
    latest = (
        Submit.objects.filter(**owner.fields)
        .values_list("created_at", flat=True)
        .order_by("-created_at")[:limit]
    )
    if len(latest) == limit:
        wait = (latest[limit - 1] + MINUTE - now).total_seconds()
        raise TooMany(
            f"You have sent {limit} texts within a minute, which is as many as one may.", wait
        )
