"""Continuous batching: streams join and leave the rows of a step, and one call advances them all.

The rows in use stay next to each other. The first `_decoding` of them sample a character in each
step; the others still read their prompt. They read one character in each step of the whole batch,
and more in extra steps of their own, because a prompt of 30 characters would otherwise wait for 30
steps of all rows. Not thread-safe.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.engine.sampler import Sampler
from ml.engine.step import Step
from ml.engine.stream import FinishReason, Stream
from ml.vocabulary import Ids, Vocabulary

log = logging.getLogger(__name__)

PREFILL_ROWS = (
    32  # moved by extra steps between two of the whole batch: bounds how long others wait
)


class Batch:
    """The rows of one step and the streams in them."""

    def __init__(self, step: Step, vocabulary: Vocabulary, rows: int) -> None:
        self.rows = rows
        self.streams: list[Stream] = []  # by row
        self._decoding = 0
        self._step = step
        self._symbols = vocabulary.symbols
        self._vocabulary = vocabulary
        self._sampler = Sampler(rows, len(vocabulary))
        self._prefixes: list[Ids] = []  # by row: ids still to be read

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
        self._step.reset(row)
        self._prefixes.append(request.prefix(self._vocabulary))
        self.streams.append(stream)
        self._promote(row)

    def leave(
        self, streams: Iterable[Stream], reason: FinishReason, error: str | None = None
    ) -> None:
        """Finish `streams` and free their rows."""
        for stream in list(streams):
            self._remove(self.streams.index(stream))
            stream.finish(reason, error)

    def advance(self) -> None:
        """Sample for each decoding stream, let the others read on, and finish those that end."""
        reading = len(self.streams) - self._decoding
        if reading:
            self._read(PREFILL_ROWS // reading)
            self._feed_reading()
        logits = self._step.run(0, len(self.streams))
        decoding = self._decoding  # rows promoted below sample in the next step only
        ended = self._sample(logits[:decoding]) if decoding else []
        if reading:
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
            self._step.ids[row] = prefix[0]
            self._swap(row, self._decoding)
            self._decoding += 1

    def _remove(self, row: int) -> None:
        if row < self._decoding:
            self._decoding -= 1
            self._swap(row, self._decoding)
            row = self._decoding
        self._swap(row, len(self.streams) - 1)
        self.streams.pop()
        self._prefixes.pop()

    def _swap(self, a: int, b: int) -> None:
        if a == b:
            return
        self._step.swap(a, b)
        self._sampler.swap(a, b)
        columns: tuple[Any, ...] = (self._step.ids, self.streams, self._prefixes)
        for column in columns:
            column[a], column[b] = column[b], column[a]
