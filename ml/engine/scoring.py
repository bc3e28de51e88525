"""How likely a given text is to a model: probabilities and nats."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml.engine.step import Step
from ml.vocabulary import Ids


def log_probabilities(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the natural logarithm of the softmax over the last axis, in the same shape."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    result: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def next_character_probabilities(step: Step, ids: Ids) -> npt.NDArray[np.float64]:
    """Return the distribution (V,) of the character after `ids`, read from zero in row 0."""
    step.reset(0)
    for index in ids.tolist():
        step.ids[0] = index
        logits = step.run(0, 1)
    return np.exp(log_probabilities(logits[0]))


def total_nats(step: Step, ids: Ids) -> float:
    """Return the nats of ids[1:], each given all before it, read from zero in row 0."""
    step.reset(0)
    total = 0.0
    for index, target in zip(ids.tolist(), ids[1:].tolist(), strict=False):
        step.ids[0] = index
        total -= log_probabilities(step.run(0, 1)[0])[target]
    return float(total)
