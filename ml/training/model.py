"""CharRNN in PyTorch: what is trained, and the reference that the engine is tested against."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ml.config import ModelConfig

State = tuple[Tensor, Tensor]  # hidden and cell state, each (L, B, H)


class CharRNN(nn.Module):
    """Characters in, logits of the next character out.

    One-hot characters (T, B, V) go through `num_layers` LSTM layers with dropout between them,
    dropout, and a linear layer to logits (T, B, V). Time comes first: it is the layout torch's LSTM
    works in.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        between = config.dropout if config.num_layers > 1 else 0.0
        self.lstm = nn.LSTM(
            config.vocab_size, config.hidden_size, config.num_layers, dropout=between
        )
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(config.hidden_size, config.vocab_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial weights.

        Orthogonal recurrent weights keep gradients alive over a sequence; a forget bias of 1 keeps
        memories alive in the first updates.
        """
        hidden = self.config.hidden_size
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("weight_hh"):
                for gate in parameter.data.split(hidden):
                    nn.init.orthogonal_(gate)
            elif name.startswith("weight_ih"):
                for gate in parameter.data.split(hidden):
                    nn.init.xavier_uniform_(gate)
            else:
                nn.init.zeros_(parameter)
                if name.startswith("bias_ih"):  # torch orders the gates input, forget, cell, output
                    parameter.data[hidden : 2 * hidden] = 1.0
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return logits (T, B, V) for ids (T, B) and the state after the last character."""
        inputs = functional.one_hot(ids, self.config.vocab_size).to(self.linear.weight.dtype)
        hidden, state = self.lstm(inputs, state)
        return self.linear(self.dropout(hidden)), state

    def initial_state(self, batch_size: int) -> State:
        """Return the all-zero state for `batch_size` streams."""
        shape = (self.config.num_layers, batch_size, self.config.hidden_size)
        weight = self.linear.weight
        return weight.new_zeros(shape), weight.new_zeros(shape)
