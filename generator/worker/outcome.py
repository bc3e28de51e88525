"""What becomes of a row when its writing ends, or could not begin.

A row ends as done, cancelled or failed, or it goes back to the queue with what was written.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol
from uuid import UUID

from django.conf import settings

from generator import services
from generator.models import Generation
from generator.services import Progress
from generator.worker.repeat import insist
from generator.worker.writing import Writing
from ml.engine.engine import FinishReason
from ml.versions.errors import NotInRegistry, RegistryError, VersionError, VersionRefused

logger = logging.getLogger(__name__)
SIGNAL_LAG = 0.2  # seconds until a stop that ended a child process first is known here, too
State = Generation.State
ENDS = {
    FinishReason.LENGTH: State.DONE,
    FinishReason.STOP: State.DONE,
    FinishReason.CANCELLED: State.CANCELLED,
    FinishReason.DEADLINE: State.FAILED,
}


class Sockets(Protocol):
    """Those who watch a generation; `Publisher` reaches them."""

    def changed(self, generation_id: UUID) -> None:
        """Tell them to read the row."""

    def let_go(self, generation_id: UUID) -> None:
        """Remove the log in a while: the row has the whole text."""


class Outcome:
    """Writes final rows, and tells the sockets. Any thread may use it."""

    def __init__(
        self, sockets: Sockets, draining: threading.Event, signal_lag: float = SIGNAL_LAG
    ) -> None:
        self._sockets = sockets
        self._draining = draining
        self._signal_lag = signal_lag

    def settle(self, writing: Writing) -> None:
        """Close the row of a finished stream, or give it back."""
        progress, reason = writing.progress(), writing.stream.reason
        if reason is None:
            raise ValueError("the stream has not finished")
        if reason is FinishReason.DRAINED:
            self._requeue(progress)
        elif reason is FinishReason.ERROR:
            logger.error(
                "generation %s: the model failed: %s", writing.generation_id, writing.stream.error
            )
            self._attempt_failed(progress, "The model failed on this text.")
        else:
            late = f"Writing took longer than {settings.GENERATION_DEADLINE} s."
            error = late if reason is FinishReason.DEADLINE else ""
            self._close(progress, ENDS[reason], str(reason), error)
            self._sockets.let_go(writing.generation_id)
            self._sockets.changed(writing.generation_id)

    def not_begun(self, generation: Generation, error: Exception) -> None:
        """Give back a claimed generation that no engine could begin.

        It fails when another try would end in the same way. The log has the error; the page gets a
        sentence without paths of this machine.
        """
        known = isinstance(error, VersionError | RegistryError)
        logger.error(
            "generation %s cannot be written: %s", generation.pk, error, exc_info=not known
        )
        progress = Progress(generation.pk, generation.attempt, generation.text, None)
        number = generation.model_version.version
        if self._draining.wait(self._signal_lag):
            # The model is not at fault: what was fetching or loading it was stopped, too.
            self._requeue(progress)
        elif isinstance(error, NotInRegistry):
            self._fail(progress, f"Version {number} is not in the registry.")
        elif isinstance(error, VersionError | VersionRefused):
            self._fail(progress, f"The files of version {number} are missing or damaged.")
        elif known:
            self._attempt_failed(
                progress,
                "The model's files cannot be fetched right now.",
                settings.FETCH_FAILED_KEPT,
            )
        else:
            self._attempt_failed(progress, "The model could not start on this text.")

    def _requeue(self, progress: Progress) -> None:
        insist(lambda: services.generation_requeue(progress=progress))
        self._sockets.changed(progress.generation_id)

    def _attempt_failed(self, progress: Progress, error: str, after: float = 0) -> None:
        """Count a failure. The generation is tried again in `after` seconds, up to the limit."""
        insist(
            lambda: services.generation_attempt_failed(progress=progress, error=error, after=after)
        )
        self._sockets.changed(progress.generation_id)

    def _fail(self, progress: Progress, error: str) -> None:
        self._close(progress, State.FAILED, "error", error)
        self._sockets.changed(progress.generation_id)

    def _close(self, progress: Progress, state: State, reason: str, error: str) -> None:
        insist(
            lambda: services.generation_finish(
                progress=progress, state=state, reason=reason, error=error
            )
        )
