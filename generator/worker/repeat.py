"""Work that is repeated: at intervals, or until the database takes it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, close_old_connections

from generator.database import passing

logger = logging.getLogger(__name__)
RETRY_PAUSE = 1.0  # seconds between tries of a write


def insist(write: Callable[[], object], pause: float = RETRY_PAUSE) -> None:
    """Call `write` until it succeeds, also while the database is locked or restarting.

    Raises its DatabaseError when it still fails after GENERATION_DEADLINE seconds.
    """
    give_up = time.monotonic() + settings.GENERATION_DEADLINE
    while True:
        try:
            write()
            return
        except DatabaseError as error:
            if time.monotonic() > give_up:
                raise
            logger.warning("a row cannot be written yet: %s", error)
            close_old_connections()
            time.sleep(pause)


def every(seconds: float, work: Callable[[], None], now: threading.Event | None = None) -> None:
    """Call `work` at intervals, in a thread of its own, and at once whenever `now` is set.

    An error of `work` is logged and does not end the repetition.
    """
    threading.Thread(
        target=_repeat,
        args=(seconds, work, now or threading.Event()),
        name=work.__name__,
        daemon=True,
    ).start()


def _repeat(seconds: float, work: Callable[[], None], now: threading.Event) -> None:
    while True:
        close_old_connections()
        try:
            work()
        except Exception as error:
            if passing(error):
                logger.warning("%s: the database is busy or away: %s", work.__name__, error)
            else:
                logger.exception("%s failed; it is tried again", work.__name__)
        now.wait(seconds)
        now.clear()
