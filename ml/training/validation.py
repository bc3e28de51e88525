"""The loss on the validation split while training, in the precision of the weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ml.config import TrainingError
from ml.training.batches import windows
from ml.training.model import CharRNN, State
from ml.vocabulary import Ids

LANES = 64
# Characters times symbols that are read at once in each lane, which bounds the memory of logits.
WINDOW_CELLS = 256 * 256


def validation_windows(ids: Ids, max_chars: int) -> Tensor:
    """Return up to `max_chars` of `ids` in evenly spaced lanes (T + 1, LANES).

    Raises TrainingError if there are too few.
    """
    lane_length = (len(ids) - 1) // LANES
    length = min(lane_length, max_chars // LANES)
    if length < 1:
        raise TrainingError(
            f"the validation split is too short: it has {len(ids)} characters, "
            f"{LANES + 1} are needed"
        )
    return windows(ids, np.arange(LANES) * lane_length, length)


@torch.no_grad()
def validation_loss(model: CharRNN, ids: Ids, max_chars: int) -> float:
    """Return nats per character over up to `max_chars` of `ids`, state carried in each lane."""
    window = validation_windows(ids, max_chars).to(model.linear.weight.device)
    length = len(window) - 1
    model.eval()
    state: State | None = None
    total = 0.0
    piece = max(1, min(256, WINDOW_CELLS // model.config.vocab_size))
    for at in range(0, length, piece):
        logits, state = model(window[at : min(at + piece, length)], state)
        targets = window[at + 1 : at + 1 + len(logits)]
        total += functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), reduction="sum"
        ).item()
    model.train()
    return total / (length * LANES)
