"""The inference engine: one thread advances every active stream by one character in each step.

Text is a pure function of the version's digest, the prompt and the sampling parameters. A stream
starts from the zero state and is fed "\\n", the normalised prompt and, if it is resumed, its text
so far; or it starts from a kept state that has read the beginning of these. Character i is sampled
with u(seed, i). The sums in the step graph are sums of integers, and the sampler's are exact. So
neither the other rows nor the number of threads change a bit of a text, nor do load, order of
arrival, interruptions or the worker.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ml.engine.batch import Batch
from ml.engine.scoring import next_character_probabilities, total_nats
from ml.engine.states import States
from ml.engine.step import Step
from ml.engine.stream import START, Chunk, FinishReason, Request, Stream
from ml.vocabulary import Vocabulary, normalize

__all__ = ["Chunk", "Engine", "FinishReason", "Request", "Stream"]

log = logging.getLogger(__name__)


class Engine:
    """Serves one version. All public methods may be called from any thread."""

    def __init__(
        self,
        step: Step,
        vocabulary: Vocabulary,
        *,
        digest: str,
        states: States,
        on_death: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Start the thread, which from now on drives `step`; `digest` is that of the version.

        Texts go on from `states`, which this engine alone uses.
        If the thread dies of an error, it calls `on_death` and then ends its streams.
        """
        self.vocabulary = vocabulary
        self.digest = digest
        self._step = step
        self._batch = Batch(step, vocabulary, len(step.ids), states)
        self._on_death = on_death
        self._waiting: deque[Stream] = deque()
        self._changed = threading.Condition()
        self._called = False  # somebody submitted, cancelled, drained or closed
        self._next_deadline = float("inf")
        self._draining = False
        self._closing = False
        self._death: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"engine-{digest[:8]}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs: not after close(), nor after an error that `on_death` got."""
        return self._thread.is_alive() and self._death is None

    @property
    def active(self) -> int:
        """The number of streams that have not finished, those that wait for a row included."""
        return len(self._batch.streams) + len(self._waiting)

    def submit(self, request: Request) -> Stream:
        """Return a stream that joins the batch as soon as a row is free, first come, first served.

        After drain() the stream is finished with DRAINED, after the thread's death with ERROR.
        """
        stream = Stream(request, self._wake)
        with self._changed:
            if self._death is not None:
                stream.finish(FinishReason.ERROR, f"the engine has died: {self._death}")
            elif self._draining:
                stream.finish(FinishReason.DRAINED)
            else:
                self._waiting.append(stream)
                self._next_deadline = min(self._next_deadline, stream.deadline_at)
                self._call()
        return stream

    def drain(self) -> None:
        """Finish every stream, waiting ones too, with DRAINED at the next step; accept no more."""
        with self._changed:
            self._draining = True
            self._call()

    def close(self) -> None:
        """Drain, end the thread and wait for it."""
        with self._changed:
            self._draining = self._closing = True
            self._call()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def score(self, text: str) -> float:
        """Return the nats per character of `text`, read after the start character."""
        ids = self.vocabulary.encode(START + normalize(text))
        if len(ids) < 2:
            raise ValueError("there is no text to score")
        return total_nats(self._step.fork(1), ids) / (len(ids) - 1)

    def distribution(self, text: str, at: int) -> npt.NDArray[np.float64]:
        """Return each symbol's probability (V,) to be character `at` of `text`.

        Raises ValueError unless 0 <= at <= len(text).
        """
        text = normalize(text)
        if not 0 <= at <= len(text):
            raise ValueError(f"position {at} is not in a text of {len(text)} characters")
        return next_character_probabilities(
            self._step.fork(1), self.vocabulary.encode(START + text[:at])
        )

    def _wake(self) -> None:
        with self._changed:
            self._call()

    def _call(self) -> None:
        """Have the thread look for changes before its next step. The caller holds the lock."""
        self._called = True
        self._changed.notify()

    def _run(self) -> None:
        batch = self._batch
        try:
            while True:
                # Without a call there is no need for the lock: what it guards has not changed.
                due = (
                    self._called
                    or self._waiting
                    or not batch.streams
                    or time.monotonic() >= self._next_deadline
                )
                if due and not self._prepare():
                    return
                batch.advance()
        except BaseException as error:
            log.exception("engine %s died", self.digest[:12])
            self._die(error)

    def _prepare(self) -> bool:
        """Wait for work, and let streams leave and join. False: the engine is to end."""
        with self._changed:
            while not (self._batch.streams or self._waiting or self._closing):
                self._changed.wait()
            if self._draining:
                self._leave(lambda stream: True, FinishReason.DRAINED)
            if self._called:
                self._called = False
                self._leave(lambda stream: stream.cancelled, FinishReason.CANCELLED)
            now = time.monotonic()
            if now >= self._next_deadline:
                self._leave(lambda stream: stream.deadline_at <= now, FinishReason.DEADLINE)
                rest = [*self._batch.streams, *self._waiting]
                self._next_deadline = min(
                    (stream.deadline_at for stream in rest), default=float("inf")
                )
            while self._waiting and len(self._batch.streams) < self._batch.rows:
                self._join(self._waiting.popleft())
            return not self._closing

    def _join(self, stream: Stream) -> None:
        try:
            self._batch.join(stream)
        except Exception as error:  # an error in one stream must not end the others
            log.exception("a stream could not start: seed %d", stream.request.sampling.seed)
            stream.finish(FinishReason.ERROR, str(error))

    def _leave(self, condition: Callable[[Stream], bool], reason: FinishReason) -> None:
        self._batch.leave([stream for stream in self._batch.streams if condition(stream)], reason)
        for stream in [stream for stream in self._waiting if condition(stream)]:
            self._waiting.remove(stream)
            stream.finish(reason)

    def _die(self, error: BaseException) -> None:
        with self._changed:
            self._death = error
            streams = [*self._batch.streams, *self._waiting]
            self._waiting.clear()
        if self._on_death:
            # First, because it may end the process: no text should then be recorded as failed.
            self._on_death(error)
        for stream in streams:
            if not stream.finished.is_set():
                stream.finish(FinishReason.ERROR, f"the engine has died: {error}")
