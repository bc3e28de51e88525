"""Continuous batching: streams join and leave the rows of a step, and one call advances them all.

The rows in use stay next to each other. The first `_decoding` of them sample a character in each
step; the others still read their prompt. They read one character in each step of the whole batch,
and more in extra steps of their own, because a prompt of 30 characters would otherwise wait for 30
steps of all rows.

A row begins at the longest kept state of what it is to read. States are kept where a row passes a
mark, where its prompt ends and where it leaves. Not thread-safe.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.engine.sampler import Sampler
from ml.engine.states import States, Trail
from ml.engine.step import Step
from ml.engine.stream import FinishReason, Stream
from ml.vocabulary import Ids, Vocabulary

log = logging.getLogger(__name__)

PREFILL_ROWS = (
    32  # moved by extra steps between two of the whole batch: bounds how long others wait
)


class Batch:
    """The rows of one step and the streams in them."""

    def __init__(self, step: Step, vocabulary: Vocabulary, rows: int, states: States) -> None:
        self.rows = rows
        self.streams: list[Stream] = []  # by row
        self._decoding = 0
        self._step = step
        self._symbols = vocabulary.symbols
        self._vocabulary = vocabulary
        self._sampler = Sampler(rows, len(vocabulary))
        self._prefixes: list[Ids] = []  # by row: ids still to be read
        self._states = states
        self._trails: list[Trail] = []  # by row
        self._clock = 0  # steps of the whole batch
        self._due = 0  # the first step at which a decoding row may pass a mark

    def join(self, stream: Stream) -> None:
        """Put `stream` into a free row, of which there must be one.

        A stream that already has its whole text is finished at once.
        """
        if reason := stream.replay():
            stream.finish(reason)
            return
        request = stream.request
        row = len(self.streams)
        self._sampler.set(row, request.sampling, len(request.text))
        ids = request.prefix(self._vocabulary)
        trail = Trail(ids, self._states.interval)
        self._prefixes.append(ids[self._start(row, trail) :])
        self._trails.append(trail)
        self.streams.append(stream)
        self._promote(row)

    def _start(self, row: int, trail: Trail) -> int:
        """Give `row` the longest kept state, or zero; return how many ids that has read."""
        kept = self._states.longest(trail)
        if kept is None:
            self._step.reset(row)
            return 0
        count, state = kept
        self._step.load(row, state)
        return count

    def leave(
        self, streams: Iterable[Stream], reason: FinishReason, error: str | None = None
    ) -> None:
        """Finish `streams` and free their rows."""
        for stream in list(streams):
            row = self.streams.index(stream)
            self._keep(row)
            self._remove(row)
            stream.finish(reason, error)

    def advance(self) -> None:
        """Sample for each decoding stream, let the others read on, and finish those that end."""
        reading = len(self.streams) - self._decoding
        if reading:
            self._read(PREFILL_ROWS // reading)
            self._feed_reading()
        logits = self._step.run(0, len(self.streams))
        self._clock += 1
        if self._clock >= self._due:
            self._keep_decoding()
        decoding = self._decoding  # rows promoted below sample in the next step only
        ended = self._sample(logits[:decoding]) if decoding else []
        if reading:
            self._keep_reading()
            self._promote_ready()
        for stream, reason, error in ended:
            self.leave([stream], reason, error)

    def _sample(
        self, logits: npt.NDArray[np.float32]
    ) -> list[tuple[Stream, FinishReason, str | None]]:
        ids, measured = self._sampler.sample(logits)
        self._step.ids[: len(ids)] = ids
        distances, totals = measured.tolist()
        ended: list[tuple[Stream, FinishReason, str | None]] = []
        for stream, index, distance, total in zip(
            self.streams, ids.tolist(), distances, totals, strict=False
        ):
            try:
                reason = stream.append(self._symbols[index], distance, total)
                if reason is not None:
                    ended.append((stream, reason, None))
            except Exception as error:  # an error in one stream must not end the others
                log.exception("a stream failed: seed %d", stream.request.sampling.seed)
                ended.append((stream, FinishReason.ERROR, str(error) or type(error).__name__))
        return ended

    def _read(self, steps: int) -> None:
        """Move the reading rows alone by at most `steps` characters, leaving each one at least."""
        first = self._decoding
        steps = min(steps, min(len(prefix) for prefix in self._prefixes[first:]) - 1)
        for _ in range(steps):
            self._feed_reading()
            self._step.run(first, len(self.streams))
            self._keep_reading()
        self._promote_ready()

    def _feed_reading(self) -> None:
        for row in range(self._decoding, len(self.streams)):
            prefix = self._prefixes[row]
            self._step.ids[row] = prefix[0]
            self._prefixes[row] = prefix[1:]

    def _promote_ready(self) -> None:
        for row in range(self._decoding, len(self.streams)):
            self._promote(row)

    def _promote(self, row: int) -> None:
        """Let `row` decode if it has one character left to read: what follows that is sampled."""
        prefix = self._prefixes[row]
        if len(prefix) == 1:
            self._keep(row)
            trail = self._trails[row]
            trail.begun = self._clock - (trail.given - 1)
            self._due = min(self._due, trail.next_mark(self._clock))
            self._step.ids[row] = prefix[0]
            self._swap(row, self._decoding)
            self._decoding += 1

    def _read_by(self, row: int) -> int:
        """Return how many ids led to the state of `row`."""
        trail = self._trails[row]
        if row < self._decoding:
            return self._clock - trail.begun
        return trail.given - len(self._prefixes[row])

    def _keep(self, row: int) -> None:
        """Keep the state of `row` for streams to come."""
        if not self._states.limit:
            return
        trail, count = self._trails[row], self._read_by(row)
        if count > len(trail):
            sampled = self.streams[row].sampled(len(trail) - trail.given, count - trail.given)
            trail.extend(self._vocabulary.encode(sampled))
        self._states.keep(trail, count, partial(self._step.save, row))

    def _keep_reading(self) -> None:
        """Keep the states of the reading rows that are at a mark."""
        for row in range(self._decoding, len(self.streams)):
            if self._read_by(row) % self._states.interval == 0:
                self._keep(row)

    def _keep_decoding(self) -> None:
        """Keep the states of the decoding rows that are at a mark, before they sample on."""
        for row in range(self._decoding):
            if self._read_by(row) % self._states.interval == 0:
                self._keep(row)
        trails = self._trails[: self._decoding]
        self._due = min(
            (trail.next_mark(self._clock) for trail in trails),
            default=self._clock + self._states.interval,
        )

    def _remove(self, row: int) -> None:
        if row < self._decoding:
            self._decoding -= 1
            self._swap(row, self._decoding)
            row = self._decoding
        self._swap(row, len(self.streams) - 1)
        self.streams.pop()
        self._prefixes.pop()
        self._trails.pop()

    def _swap(self, a: int, b: int) -> None:
        if a == b:
            return
        self._step.swap(a, b)
        self._sampler.swap(a, b)
        columns: tuple[Any, ...] = (self._step.ids, self.streams, self._prefixes, self._trails)
        for column in columns:
            column[a], column[b] = column[b], column[a]
