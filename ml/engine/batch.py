"""Continuous batching: streams join and leave rows of a step, and one call advances all of them by a character.

Rows in use are kept together. The first `decoding` rows sample a character in each step; the rows
after them still read their prompt. A prompt is read inside the batch, and in a few steps more that
move only the reading rows: else a prompt of 30 characters would wait for 30 steps of everybody.
Knows nothing of threads.
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

PREFILL_ROWS = 32  # rows moved by the extra steps between two steps of the whole batch: a bound on what others wait


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
        """Put `stream` into a row; there must be one free. A stream that has its whole text already is finished at once."""
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
        """Sample a character for each decoding stream and let the others read on. Streams that end are finished."""
        reading = len(self.streams) - self._decoding
        if reading:
            self._read(PREFILL_ROWS // reading)
            self._feed_reading()
        logits = self._step.run(0, len(self.streams))
        decoding = self._decoding  # those who are promoted below have not sampled yet
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
            except Exception as error:  # an error in one stream is that stream's alone
                log.exception("a stream failed: seed %d", stream.request.sampling.seed)
                ended.append((stream, FinishReason.ERROR, str(error) or type(error).__name__))
        return ended

    def _read(self, steps: int) -> None:
        """Move only the reading rows, by up to `steps` characters, as long as none has read all but its last."""
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
        """Make a row that has one character left to read a decoding one: the logits after it are sampled."""
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
