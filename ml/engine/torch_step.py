"""The step in PyTorch: single precision, on CUDA where there is one.

Only this part of serving needs torch. The last bits of its sums depend on the size of the
batch, so unlike the ONNX step it does not promise equal texts under different loads.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ml.config import ModelConfig
from ml.engine.step import Logits


class TorchStep:
    """LSTM layers stepped by hand, with one matrix product a layer for input and state together."""

    def __init__(
        self,
        model: ModelConfig,
        weights: Mapping[str, npt.NDArray[np.float32]],
        *,
        rows: int,
        threads: int,
        device: str = "",
    ) -> None:
        """Take `weights` by torch's names. An empty `device` is CUDA where there is one."""
        torch.set_num_threads(threads)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        tensors = {
            name: torch.from_numpy(value.copy()).to(device) for name, value in weights.items()
        }
        self._model = model
        # (V, 4H): a row is the product of the matrix with a one-hot vector
        self._table = tensors["lstm.weight_ih_l0"].T.contiguous()
        self._matrices = [tensors["lstm.weight_hh_l0"]]
        for layer in range(1, model.num_layers):
            both = [tensors[f"lstm.weight_{part}_l{layer}"] for part in ("ih", "hh")]
            self._matrices.append(torch.cat(both, dim=1))  # (4H, 2H)
        self._biases = [
            tensors[f"lstm.bias_ih_l{x}"] + tensors[f"lstm.bias_hh_l{x}"]
            for x in range(model.num_layers)
        ]
        self._linear = (tensors["linear.weight"], tensors["linear.bias"])
        self._set_rows(rows)

    def _set_rows(self, rows: int) -> None:
        shape = (self._model.num_layers, rows, self._model.hidden_size)
        self.ids = np.zeros(rows, np.int32)
        self._hidden = self._table.new_zeros(shape)
        self._cell = self._table.new_zeros(shape)

    @torch.inference_mode()
    def run(self, start: int, stop: int) -> Logits:
        """Feed `ids[start:stop]` and return logits (stop - start, V)."""
        ids = torch.from_numpy(self.ids[start:stop].astype(np.int64)).to(self._table.device)
        hidden, cell = self._hidden[:, start:stop], self._cell[:, start:stop]  # written in place
        gates = torch.addmm(self._table[ids], hidden[0], self._matrices[0].T) + self._biases[0]
        for layer in range(self._model.num_layers):
            if layer:
                both = torch.cat([hidden[layer - 1], hidden[layer]], dim=1)  # (n, 2H)
                gates = functional.linear(both, self._matrices[layer], self._biases[layer])
            i, f, g, o = gates.chunk(4, dim=1)
            cell[layer] = torch.sigmoid(f) * cell[layer] + torch.sigmoid(i) * torch.tanh(g)
            hidden[layer] = torch.sigmoid(o) * torch.tanh(cell[layer])
        logits: Logits = functional.linear(hidden[-1], *self._linear).cpu().numpy()
        return logits

    def reset(self, row: int) -> None:
        """Set the state of `row` to zero."""
        self._hidden[:, row] = 0
        self._cell[:, row] = 0

    def swap(self, a: int, b: int) -> None:
        """Exchange the states of two rows (not their ids)."""
        for state in (self._hidden, self._cell):
            _exchange(state, a, b)

    def save(self, row: int) -> bytes:
        """Return an exact copy of the state of `row`."""
        state = torch.stack((self._hidden[:, row], self._cell[:, row]))
        return state.cpu().numpy().tobytes()

    def load(self, row: int, state: bytes) -> None:
        """Set the state of `row` to one that `save` returned, of whichever row."""
        shape = (2, self._model.num_layers, self._model.hidden_size)
        hidden, cell = torch.tensor(np.frombuffer(state, np.float32).reshape(shape))
        self._hidden[:, row] = hidden
        self._cell[:, row] = cell

    def fork(self, rows: int) -> TorchStep:
        """Return a step for `rows` rows that shares the weights but not the states."""
        step = TorchStep.__new__(TorchStep)
        step.__dict__.update(self.__dict__)
        step._set_rows(rows)
        return step


def _exchange(state: Tensor, a: int, b: int) -> None:
    state[:, [a, b]] = state[:, [b, a]]
