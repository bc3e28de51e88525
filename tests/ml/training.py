"""A tiny training run: its configuration, and a corpus of random text."""

from __future__ import annotations

import numpy as np

from ml.config import TrainConfig
from ml.data.corpus import Corpus
from ml.training.batches import CHUNK
from ml.vocabulary import UNKNOWN, Vocabulary

CONFIG = TrainConfig(
    hidden_size=16,
    num_layers=2,
    dropout=0.2,  # so that the random state matters too
    batch_size=2,
    sequence_length=64,
    max_chars=2 * 64 * 8,
    warmup_steps=3,
    validate_every=2 * 64 * 4,
    validation_chars=1280,
    threads=1,
    device="cpu",  # there a repeated run gives the same weights
)

NO_BF16 = (
    "this processor cannot multiply bf16; leave out --precision bf16: "
    "a run that was begun with it goes on without"
)


def random_corpus() -> Corpus:
    """A text without anything to learn."""
    ids = np.random.default_rng(0).integers(1, 12, 6 * CHUNK + 1).astype(np.uint8)
    return Corpus(Vocabulary(UNKNOWN + "abcdefghijk"), ids, ids[: 64 * 40], (), "digest")
