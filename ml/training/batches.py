"""Training batches as a pure function of the step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ml.config import TrainConfig, TrainingError
from ml.vocabulary import Ids

# Characters. Every lane reads a shuffled sequence of chunks, so that the beginning of a run sees
# parts of all books.
CHUNK = 8192


class Batches:
    """Training batches as a pure function of the step, which makes an exact resume simple.

    An epoch is a permutation of the chunks drawn from (seed, epoch); lane b reads chunks b, b+B,
    b+2B, … of it.
    """

    def __init__(self, ids: Ids, config: TrainConfig) -> None:
        if CHUNK % config.sequence_length:
            raise TrainingError(
                f"the sequence length must divide {CHUNK}, and {config.sequence_length} does not"
            )
        self._ids = ids
        self._config = config
        self._chunks = (len(ids) - 1) // CHUNK
        self._rounds = self._chunks // config.batch_size
        self._steps_per_chunk = CHUNK // config.sequence_length
        if not self._rounds:
            raise TrainingError(_too_short(len(ids), config.batch_size, self._chunks))
        self._order: tuple[int, npt.NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor, bool]:
        """Return inputs and targets (T, B) of `step`, and whether lanes start a new chunk.

        A new chunk begins from the zero state.
        """
        chunk_round, within = divmod(step, self._steps_per_chunk)
        epoch, chunk_round = divmod(chunk_round, self._rounds)
        if self._order[0] != epoch:
            generator = np.random.default_rng((self._config.seed, epoch))
            self._order = (epoch, generator.permutation(self._chunks))
        lanes = self._order[1][chunk_round * self._config.batch_size :][: self._config.batch_size]
        window = windows(
            self._ids,
            lanes * CHUNK + within * self._config.sequence_length,
            self._config.sequence_length,
        )
        return window[:-1], window[1:], within == 0


def windows(ids: Ids, starts: npt.NDArray[np.int64], length: int) -> Tensor:
    """Return `length` + 1 characters from each start, as columns (length + 1, lanes)."""
    rows = np.stack([ids[start : start + length + 1] for start in starts], axis=1)
    return torch.from_numpy(rows.astype(np.int64))


def _too_short(chars: int, batch_size: int, chunks: int) -> str:
    need = (
        f"the text is too short: a batch of {batch_size} needs {batch_size * CHUNK + 1:,} "
        f"characters, it has {chars:,}"
    )
    return (
        f"{need}; --batch-size {chunks} would do"
        if chunks
        else f"{need}; the least to train on is {CHUNK + 1:,}"
    )
