"""The two frozen dataclasses that describe a model and the run which trained it; both are saved beside the weights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Architecture of a CharRNN: one-hot input, LSTM layers, one linear layer to the logits."""

    vocab_size: int
    hidden_size: int = 512
    num_layers: int = 2
    dropout: float = 0.0  # between the LSTM layers and before the linear layer; nothing is seen twice in under an epoch


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Hyper-parameters of a training run. Lengths are in characters, as is the budget."""

    hidden_size: int = 512
    num_layers: int = 2
    dropout: float = 0.0
    batch_size: int = 32  # lanes; many small updates beat few large ones at this budget
    sequence_length: int = 64  # characters between updates (truncated BPTT); the state is carried on
    max_chars: int = 12_000_000  # budget: the run ends when this many characters were seen
    learning_rate: float = 4e-3
    warmup_steps: int = 100
    cooldown: float = 0.4  # last part of the budget, falling along a cosine; 1.0 makes the whole run one cosine
    final_learning_rate: float = 0.02  # where the cosine ends, as a fraction of learning_rate
    beta1: float = 0.9
    beta2: float = 0.99  # shorter memory than 0.999: the loss falls fast and gradients change scale early on
    weight_decay: float = 0.01  # on the weight matrices only
    clip_norm: float = 1.0
    precision: str = "fp32"  # or "bf16": autocast, about 1.6 times as fast on a CPU with avx512_bf16
    seed: int = 1
    validate_every: int = 1_000_000  # characters between validations, each of which keeps a snapshot
    validation_chars: int = 300_000  # validated at intervals; the whole split is for `evaluate`
    threads: int = 2
