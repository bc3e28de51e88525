"""The definition of a text, written down plainly: what every faster way to write it must equal.

Nothing here comes from the sampler, the streams, `offline` or the builder of step graphs. Floats
are IEEE doubles (Python's) or singles (numpy's), one operation at a time; sums are sums of whole
numbers. See docs/decisions/0004.

One thing is borrowed: the sigmoid and the tanh of the gates are ONNX Runtime's, called as graphs of
one node. They are approximations that no standard defines to the last bit, so a twin of ours would
differ from them. The rest of a step is done here with numpy.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cache
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import TensorProto, helper

from ml.config import ModelConfig

Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]

# Normalisation

QUOTES = {"'": "\u2018\u2019\u201a\u201b\u2032", '"': "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb"}


def normalized(text: str) -> str:
    """Return `text` in NFKC with straight quotes, spaces for tabs, "\\n" at line ends, no BOM."""
    for _ in range(2):  # NFKC takes some characters apart into others that this replaces
        text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
        text = text.replace("\ufeff", "")
        for straight, curly in QUOTES.items():
            for quote in curly:
                text = text.replace(quote, straight)
        text = unicodedata.normalize("NFKC", text)
    return text


# The uniform number of a character


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a block of Philox4x64-10 (Salmon et al., "Parallel random numbers", 2011)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * c0, 2**64)
        high1, low1 = divmod(0xCA5A826395121157 * c2, 2**64)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) % 2**64, (k1 + 0xBB67AE8584CAA73B) % 2**64
    return c0, c1, c2, c3


def uniform(seed: int, position: int) -> float:
    """Return u in [0, 1): the upper 53 bits of word `position`; the first block has counter 1."""
    block, word = divmod(position, 4)
    return (philox((block + 1, 0, 0, 0), (seed, 0))[word] >> 11) * 2.0**-53


# Logits to a symbol

UNIT_BITS = 44  # the likeliest symbol weighs 2^44
COLDEST = 1e-9  # a lower temperature, but for 0, counts as this one


@cache
def exp(exponent: Decimal) -> float:
    """Return the double nearest to e^exponent."""
    return float(Context(prec=50).exp(exponent))


def weight(distance: float, temperature: float, unit: float) -> int:
    """Return floor(unit · e^(-distance / temperature)) as the engine defines it to the last bit.

    The power is that of the nearest 1/128 nat, times the Taylor polynomial of degree 3 of the rest.
    """
    steps = distance / (max(temperature, COLDEST) / 128)
    if steps >= 32 * 128:
        return 0
    nearest = round(steps)
    nats, fraction = divmod(nearest, 128)
    power = exp(Decimal(-nats)) * unit * exp(Decimal(-fraction) / 128)
    rest = nearest - steps
    taylor = rest * (1 / (6 * 128**3)) + 1 / (2 * 128**2)
    taylor = taylor * rest + 1 / 128
    taylor = taylor * rest + 1.0
    return math.floor(power * taylor)


def keep(weights: Sequence[int], top_k: int | None, top_p: float | None) -> list[int]:
    """Return the weights with 0 for symbols cut off; of equal weights the lower ids are kept.

    top_k keeps so many symbols. top_p keeps the heaviest of these, until their sum reaches that
    share of the sum of all of them.
    """
    order = sorted(range(len(weights)), key=lambda index: (-weights[index], index))[:top_k]
    goal = (1.0 if top_p is None else top_p) * sum(weights[index] for index in order)
    kept, total = [0] * len(weights), 0
    for index in order:
        if total >= goal:
            break
        kept[index] = weights[index]
        total += weights[index]
    return kept


@dataclass(frozen=True)
class Draw:
    """A sampled symbol, and what its surprisal is made of."""

    symbol: int
    distance: float  # from its logit to the largest, in nats
    total: int  # the sum of all weights at temperature 1, where the largest is 2^44

    @property
    def bits(self) -> float:
        """The surprisal, not rounded."""
        return self.distance / math.log(2) + math.log2(self.total) - UNIT_BITS


def draw(
    logits: Sequence[float],
    u: float,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Draw:
    """Return the symbol that `u` draws; symbol 0, the unknown one, has no weight.

    Temperature 0 takes the largest logit, the lowest id where several are, and nothing is cut off.
    A logit may be -infinity. Sums of weights must fit the 53 bits of a double: with more than 512
    symbols the unit is a smaller power of two.
    """
    known = logits[1:]
    distances = [max(known) - logit for logit in known]
    unit_bits = min(UNIT_BITS, 53 - (len(known) - 1).bit_length())

    def weights(of_temperature: float) -> list[int]:
        return [weight(distance, of_temperature, 2.0**unit_bits) for distance in distances]

    if temperature == 0:
        chosen = distances.index(0.0)
    else:
        kept = keep(weights(temperature), top_k, top_p)
        target = u * sum(kept)
        chosen = next(index for index, total in enumerate(accumulate(kept)) if total > target)
    total = sum(weights(1.0)) << (UNIT_BITS - unit_bits)
    return Draw(chosen + 1, distances[chosen], total)


# Characters to logits


def _kernel(operator: str) -> Callable[[Singles], Singles]:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], operator, [x], [y])
    opset = helper.make_opsetid("", 17)
    proto = helper.make_model(graph, ir_version=8, opset_imports=[opset])
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )

    def run(values: Singles) -> Singles:
        result: Singles = session.run(["y"], {"x": values})[0]
        return result

    return run


sigmoid, tanh = _kernel("Sigmoid"), _kernel("Tanh")


def _half(values: Singles) -> Singles:
    """Round to half precision, in which scales and biases are kept."""
    return values.astype(np.float16).astype(np.float32)


def _quantized(matrix: Singles, limit: int) -> tuple[Integers, Singles]:
    """Return whole numbers within ±limit and a scale for each column: their product is near."""
    largest = np.abs(matrix).max(axis=0)
    scale = _half(np.maximum(largest / np.float32(limit), np.float32(2.0**-14)))
    return np.clip(np.rint(matrix / scale), -limit, limit).astype(np.int32), scale


class Network:
    """The LSTM with trained weights (torch's names), for one text at a time.

    Weights are within ±63 for each column, those of the characters within ±127. A hidden state h is
    round(127 h). Gates lie in torch's order: input, forget, cell, output.
    """

    def __init__(self, model: ModelConfig, weights: Mapping[str, Singles]) -> None:
        self._model = model
        self.reset()
        characters, scale = _quantized(weights["lstm.weight_ih_l0"].T, 127)
        self._matrices, self._biases = [], []
        for layer in range(model.num_layers):
            matrix = weights[f"lstm.weight_hh_l{layer}"]
            if layer:
                matrix = np.concatenate([weights[f"lstm.weight_ih_l{layer}"], matrix], axis=1)
            self._matrices.append(_quantized(matrix.T, 63))
            bias = weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"]
            self._biases.append(_half(bias))
        self._characters = characters.astype(np.float32) * scale + self._biases[0]
        self._linear = _quantized(weights["linear.weight"].T, 63)
        self._linear_bias = _half(weights["linear.bias"])

    def reset(self) -> None:
        """Return to the zero state."""
        shape = (self._model.num_layers, self._model.hidden_size)
        self._hidden, self._cells = np.zeros(shape, np.int32), np.zeros(shape, np.float32)

    def feed(self, symbol: int) -> list[float]:
        """Read one character and return the logits of the next."""
        below: Integers = np.zeros(0, np.int32)
        for layer, matrix in enumerate(self._matrices):
            addend = self._biases[layer] if layer else self._characters[symbol]
            gates = self._product(np.concatenate([below, self._hidden[layer]]), matrix) + addend
            i, f, g, o = np.split(gates, 4)
            cell = sigmoid(f) * self._cells[layer] + sigmoid(i) * tanh(g)
            hidden = sigmoid(o) * tanh(cell)
            below = np.rint(hidden / np.float32(1 / 127)).astype(np.int32)
            self._cells[layer], self._hidden[layer] = cell, below
        logits: list[float] = (self._product(below, self._linear) + self._linear_bias).tolist()
        return logits

    @staticmethod
    def _product(hidden: Integers, matrix: tuple[Integers, Singles]) -> Singles:
        values, scale = matrix
        product: Singles = (hidden @ values).astype(np.float32) * (scale * np.float32(1 / 127))
        return product


# A request to its text


@dataclass(frozen=True)
class Answer:
    """A whole text, why it ends, and the bits of those of its characters that were drawn."""

    text: str
    reason: str
    bits: list[float]


def write(
    network: Network,
    symbols: str,
    *,
    prompt: str,
    length: int,
    seed: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: Sequence[str] = (),
    text: str = "",
) -> Answer:
    """Return the text of a request; `text` is what was written of it before."""
    network.reset()
    for character in "\n" + normalized(prompt) + text:
        logits = network.feed(max(0, symbols.find(character)))
    bits = []
    written = text
    while len(written) < length:
        drawn = draw(logits, uniform(seed, len(written)), temperature, top_k, top_p)
        written += symbols[drawn.symbol]
        bits.append(drawn.bits)
        logits = network.feed(drawn.symbol)
    ends = []
    for string in map(normalized, stop):
        start = written.find(string)
        if start >= 0:
            ends.append((start + len(string), start))
    whole = written[: min(ends)[1]] if ends else written
    kept = max(0, len(whole) - len(text))
    return Answer(whole, "stop" if ends else "length", bits[:kept])
