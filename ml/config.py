"""What describes a model and the run that trained it; both are saved beside the weights."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TypeVar

from ml.errors import UserError

HIDDEN_ZERO = 128  # what 0.0 is in a hidden state of the int8 step graph, which is uint8

_Value = TypeVar("_Value")


class TrainingError(UserError):
    """Training cannot start or go on; the message says why. The last resume point is kept."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Architecture of a CharRNN: one-hot input, LSTM layers, one linear layer to the logits."""

    vocab_size: int
    hidden_size: int = 512
    num_layers: int = 2
    # Between the LSTM layers and before the linear layer. 0, as a short run sees no text twice.
    dropout: float = 0.0


def _option(default: _Value, text: str, *, low: float = 0, choices: tuple[str, ...] = ()) -> _Value:
    """Return a field with its help text and its smallest value, or the only values it may have."""
    return field(default=default, metadata={"help": text, "low": low, "choices": choices})


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Hyper-parameters of a training run. Lengths are in characters, as is the budget.

    The help texts are those of `python -m ml train --help`. Raises TrainingError for a value that
    makes no sense.
    """

    hidden_size: int = _option(512, "units of each LSTM layer", low=1)
    num_layers: int = _option(2, "LSTM layers", low=1)
    dropout: float = _option(0.0, "share of units dropped between layers")
    batch_size: int = _option(
        32,
        "places of the text read side by side; small means more updates for the same text",
        low=1,
    )
    sequence_length: int = _option(
        64, "characters between two updates; the state is carried on. A power of two", low=1
    )
    max_chars: int = _option(12_000_000, "the run ends when this many characters were read", low=1)
    learning_rate: float = _option(4e-3, "size of an update of AdamW at its largest")
    warmup_steps: int = _option(100, "updates over which the learning rate rises from zero")
    cooldown: float = _option(
        0.4,
        "last part of the run, in which the learning rate falls along a cosine; 1 is the whole run",
    )
    final_learning_rate: float = _option(
        0.02, "where the cosine ends, as a share of the learning rate"
    )
    beta1: float = _option(0.9, "AdamW's memory of gradients")
    # Shorter than the usual 0.999: the loss falls fast and gradients change scale early on.
    beta2: float = _option(0.99, "AdamW's memory of squared gradients")
    weight_decay: float = _option(0.01, "AdamW's pull of the weight matrices towards zero")
    clip_norm: float = _option(1.0, "a longer gradient is shortened to this length")
    precision: str = _option(
        "fp32",
        "bf16 is faster where it is multiplied (avx512_bf16, amx, CUDA), refused where not",
        choices=("fp32", "bf16"),
    )
    device: str = _option("auto", "cpu, cuda or cuda:1; auto takes CUDA where there is one")
    seed: int = _option(1, "of the initial weights, the order of the text and dropout")
    validate_every: int = _option(
        1_000_000, "characters between validations; each keeps a snapshot and a sample", low=1
    )
    validation_chars: int = _option(
        300_000, "characters of the validation split read each time", low=64
    )
    sample_chars: int = _option(
        300, "length of the sample text written at each validation; 0 writes none"
    )
    patience: int = _option(
        0, "end after this many validations in a row without a better one; 0 never ends early"
    )
    threads: int = _option(2, "CPU threads", low=1)

    def __post_init__(self) -> None:
        for option in dataclasses.fields(self):
            value, limits = getattr(self, option.name), option.metadata
            flag = "--" + option.name.replace("_", "-")
            if limits["choices"] and value not in limits["choices"]:
                raise TrainingError(f"{flag} is one of {', '.join(limits['choices'])}, not {value}")
            if isinstance(value, str):
                continue
            if not value >= limits["low"]:  # NaN fails this, too
                raise TrainingError(f"{flag} must be at least {limits['low']}, not {value}")
            if math.isinf(value):  # config.json and model.json could not hold it
                raise TrainingError(f"{flag} must be a finite number, not {value}")
        for name in ("dropout", "beta1", "beta2"):
            if getattr(self, name) >= 1:
                raise TrainingError(f"--{name} must be below 1, not {getattr(self, name)}")
        if self.cooldown > 1:
            raise TrainingError(
                f"--cooldown is a part of the run, from 0 to 1, not {self.cooldown}"
            )
