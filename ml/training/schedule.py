"""The learning rate over a training run."""

from __future__ import annotations

import math

from ml.config import TrainConfig


def learning_rate_at(chars: int, step: int, config: TrainConfig) -> float:
    """Return the learning rate: linear warm-up, constant, then a cosine over the last `cooldown`.

    `chars` counts the characters read before update `step`.
    """
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    cooldown_chars = config.cooldown * config.max_chars
    into = (chars - (config.max_chars - cooldown_chars)) / cooldown_chars if cooldown_chars else 0.0
    into = min(1.0, max(0.0, into))
    cosine = (
        config.final_learning_rate
        + (1 - config.final_learning_rate) * (1 + math.cos(math.pi * into)) / 2
    )
    return config.learning_rate * warmup * cosine
