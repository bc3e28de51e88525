"""The heartbeat row of this process: that it is alive, and whether it takes texts."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

from generator import heartbeats

CONSUMES_SILENT = 5.0  # seconds without a sign of Celery's loop after which it takes no tasks


class Presence:
    """Any thread may use it. `clock` returns seconds and does not go back."""

    def __init__(
        self,
        worker_id: str,
        draining: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker_id = worker_id
        self._draining = draining
        self._clock = clock
        self._consumed_at = -float("inf")
        self._gone = False
        # A heartbeat under way must not write the row again once it is removed.
        self._row = threading.Lock()

    @property
    def takes_texts(self) -> bool:
        """Whether others may count on this process."""
        silent = self._clock() - self._consumed_at
        return not self._draining.is_set() and silent < CONSUMES_SILENT

    def consuming(self) -> bool:
        """Note that Celery takes tasks now. Returns whether `takes_texts` has changed by it."""
        before = self.takes_texts
        self._consumed_at = self._clock()
        return self.takes_texts != before

    def beat(self, *, versions: list[str], active: int) -> None:
        """Write the row, with the digests of loaded versions and the number of texts under way."""
        with self._row:
            if self._gone:
                return
            heartbeats.heartbeat(
                worker_id=self._worker_id,
                role=heartbeats.Role.WORKER,
                host=socket.gethostname(),
                pid=os.getpid(),
                versions=versions,
                active=active,
                consumes=self.takes_texts,
            )

    def leave(self) -> None:
        """Remove the row for good, so that nobody waits for it to grow old."""
        with self._row:
            self._gone = True
            heartbeats.gone(worker_id=self._worker_id)
