"""Logits to characters: temperature, top-k, top-p and the inverse CDF, for a batch of rows at once.

The text of a stream must not depend on the rows beside it, on the number of rows, or on the CPU. Three things see to it:

* The uniform number of a character is u = f(seed, position), from the counter-based generator Philox4x64-10: the number of
  draws before it does not matter, and there is no generator state to save.
* Probabilities are whole numbers: the weight of a symbol is floor(2^44 · exp(-d/T)), d its distance to the largest logit.
  Sums of up to 256 such numbers are below 2^53, so they are exact in float64 in whatever order a CPU adds them up.
* exp is a table of products of exactly rounded numbers and a short polynomial, in additions and multiplications, which
  IEEE 754 defines to the last bit. numpy's own exp differs between AVX2 and AVX-512. The relative error is below 1e-10.

Symbol 0, the unknown one, has no weight.
"""

from __future__ import annotations

import decimal
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

UNIFORM_BLOCK = 64  # uniform numbers drawn ahead for a row: making the generator costs more than the numbers
_SURPRISAL_STEPS = 1000.0  # surprisals are rounded to a thousandth of a bit
_MAX_ROWS = 4096
_ROWS = np.arange(_MAX_ROWS)

GRID = 128  # table entries for one nat: 32 KiB in all, so that it stays in the cache beside the weights of a step
_NATS = 32  # exp(-32) · 2^44 < 1: beyond it a weight is 0
_UNIT_BITS = 44
_UNIT = 2.0**_UNIT_BITS  # weight of the likeliest symbol
_COLDEST = 1e-9  # only equal logits share at this temperature; below it, distances would overflow
_LOG2_E = 1.4426950408889634


def _exp_table() -> Floats:
    """Return 2^44 · exp(-k / GRID) for k = 0 … 32 · GRID; the last entry stands for all beyond and is 0."""
    context = decimal.Context(prec=40)
    fine = np.array([float(context.exp(-decimal.Decimal(k) / GRID)) for k in range(GRID)])
    coarse = np.array([float(context.exp(-decimal.Decimal(k))) for k in range(_NATS)])
    return np.append(np.outer(coarse * _UNIT, fine).ravel(), 0.0)


_TABLE = _exp_table()


class Scratch:
    """Arrays to work in. Temporaries of this size would make malloc return and fault in pages at every step."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.scaled, self.nearest, self.weights = np.empty(shape), np.empty(shape), np.empty(shape)
        self.index = np.empty(shape, np.intp)
        self.distance = np.empty(shape[-2:])

    def first(self, n: int) -> Scratch:
        """Return views of the first `n` rows, on the axis before the last."""
        views = Scratch.__new__(Scratch)
        for name, array in vars(self).items():
            setattr(views, name, array[..., :n, :])
        return views


def weights_of(scratch: Scratch) -> Floats:
    """Set and return `scratch.weights`: floor(2^44 · exp(-d)), whole float64 numbers, for d >= 0 in `scratch.scaled` / GRID.

    NaN gives 0. The other arrays of the scratch are overwritten.
    """
    scaled, nearest, index, weights = scratch.scaled, scratch.nearest, scratch.index, scratch.weights
    np.fmin(scaled, _NATS * GRID, out=scaled)
    np.rint(scaled, out=nearest)
    np.copyto(index, nearest, casting="unsafe")
    np.take(_TABLE, index, out=weights, mode="clip")
    rest = np.subtract(nearest, scaled, out=nearest)  # exp(-d) = exp(-nearest / GRID) · exp(rest / GRID), |rest| <= 1/2
    polynomial = np.multiply(rest, 1 / (6 * GRID**3), out=scaled)
    polynomial += 1 / (2 * GRID**2)
    polynomial *= rest
    polynomial += 1 / GRID
    polynomial *= rest
    polynomial += 1.0
    weights *= polynomial
    return np.floor(weights, out=weights)


def uniforms(seed: int, position: int, count: int) -> Floats:
    """Return u(seed, p) in [0, 1) for p = position … position + count - 1.

    u(seed, p) is the upper 53 bits of word p of numpy's Philox (4x64, 10 rounds) with the key (seed, 0): word p % 4 of the
    block whose counter is p // 4 + 1, as numpy counts on before it draws.
    """
    block, skipped = divmod(position, 4)
    raw = np.random.Philox(key=seed, counter=block).random_raw(skipped + count)
    return (raw[skipped:] >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of some rows, sorted out once for as long as the same streams are in them."""

    divisor: Floats  # (2, n, 1): temperature 1, for the surprisal, and the row's own, both / GRID
    greedy: npt.NDArray[np.bool_] | None  # rows of temperature 0; None if there are none
    cut: Ints | None  # rows with top_k or top_p; None if there are none
    top_k: Ints  # of the rows in `cut`
    top_p: Floats

    @classmethod
    def of(cls, temperature: Floats, top_k: Ints, top_p: Floats) -> Plan:
        """Return the plan for rows with these parameters, each (n,); top_k 0 and top_p 1 cut nothing off."""
        greedy = temperature == 0
        cut = np.flatnonzero(((top_k > 0) | (top_p < 1)) & ~greedy)
        return cls(
            divisor=np.stack((np.ones(len(temperature)), np.fmax(temperature, _COLDEST)))[:, :, None] / GRID,
            greedy=greedy if greedy.any() else None,
            cut=cut if len(cut) else None,
            top_k=top_k[cut],
            top_p=top_p[cut],
        )


def sample(logits: npt.NDArray[np.float32], u: Floats, plan: Plan, scratch: Scratch | None = None) -> tuple[Ints, Floats]:
    """Return the sampled ids (n,) and their surprisals in bits (n,) for logits (n, V) and uniform numbers (n,).

    temperature 0 takes the likeliest symbol, the lowest id on ties. top_k counts symbols; top_p is the share of the
    probability that is kept, after top_k. Both keep at least one symbol, and the lower ids where weights are equal. The
    surprisal is -log2 of the probability under the model's own distribution: temperature 1, nothing cut off, no unknown
    symbol. It is NaN, and the id means nothing, where a logit is not finite. `scratch` has the shape (2, n, V-1).
    """
    n, symbols = len(logits), logits.shape[1] - 1
    scratch = scratch or Scratch((2, n, symbols))
    rows = _ROWS[:n]
    distance = scratch.distance
    np.copyto(distance, logits[:, 1:])
    np.subtract(np.maximum.reduce(distance, axis=1, keepdims=True), distance, out=distance)
    np.divide(distance, plan.divisor, out=scratch.scaled)
    weights_of(scratch)
    own, weights = scratch.weights[0], scratch.weights[1]
    if plan.cut is not None:
        weights[plan.cut] = truncate(weights[plan.cut], plan.top_k, plan.top_p)
    cumulative = np.add.accumulate(weights, axis=1, out=scratch.scaled[0])
    target = u * cumulative[:, -1]
    chosen: Ints = (cumulative > target[:, None]).argmax(axis=1)
    if plan.greedy is not None:
        chosen = np.where(plan.greedy, distance.argmin(axis=1), chosen)
    total = np.fmax(np.add.reduce(own, axis=1), 1.0)  # it is 0 only if the logits are not finite
    bits = distance[rows, chosen] * _LOG2_E + (np.log2(total) - _UNIT_BITS)
    return chosen + 1, np.rint(bits * _SURPRISAL_STEPS) / _SURPRISAL_STEPS


def truncate(weights: Floats, top_k: Ints, top_p: Floats) -> Floats:
    """Return `weights` (n, V) with what top_k and then top_p cut off set to 0."""
    size = weights.shape[1]
    rows = _ROWS[: len(weights)]
    ordered = np.sort(weights, axis=1)[:, ::-1]
    kept = np.where(top_k > 0, np.minimum(top_k, size), size)
    if (top_p < 1).any():
        cumulative = ordered.cumsum(axis=1)
        goal = np.where(top_p < 1, top_p * cumulative[rows, kept - 1], np.inf)
        kept = np.minimum(kept, np.count_nonzero(cumulative < goal[:, None], axis=1) + 1)
    threshold = ordered[rows, kept - 1][:, None]
    keep = weights >= threshold
    tied = np.flatnonzero((np.count_nonzero(keep, axis=1) > kept) & (threshold[:, 0] > 0))
    for row in tied.tolist():  # rare: equal weights, of which only the lower ids fit
        equal = np.flatnonzero(weights[row] == threshold[row])
        surplus = np.count_nonzero(keep[row]) - kept[row]
        keep[row, equal[len(equal) - surplus :]] = False
    return np.where(keep, weights, 0.0)


class Sampler:
    """The sampling parameters and positions of a fixed number of rows."""

    def __init__(self, rows: int, vocab_size: int) -> None:
        if rows > _MAX_ROWS:
            raise ValueError(f"at most {_MAX_ROWS} rows, not {rows}")
        self._seeds = np.zeros(rows, np.uint64)
        self._positions = np.zeros(rows, np.int64)  # of the first number in the row's block
        self._uniforms = np.zeros((rows, UNIFORM_BLOCK))
        self._column = np.zeros(rows, np.int64)  # of the next number to use
        self._temperature = np.ones(rows)
        self._top_k = np.zeros(rows, np.int64)
        self._top_p = np.ones(rows)
        self._used = 0  # the largest column in use is at most this
        self._plan: Plan | None = None
        self._planned = 0  # rows that the plan and the scratch are for
        self._all_scratch = Scratch((2, rows, vocab_size - 1))
        self._scratch = self._all_scratch

    def set(self, row: int, *, seed: int, position: int, temperature: float, top_k: int | None, top_p: float | None) -> None:
        """Put a stream into `row` whose next character has index `position`."""
        self._seeds[row] = seed
        self._positions[row] = position
        self._uniforms[row] = uniforms(seed, position, UNIFORM_BLOCK)
        self._column[row] = 0
        self._temperature[row] = temperature
        self._top_k[row] = top_k or 0
        self._top_p[row] = 1.0 if top_p is None else top_p
        self._plan = None

    def swap(self, a: int, b: int) -> None:
        """Exchange two rows."""
        swap_rows(self._uniforms, a, b)
        for column in (self._seeds, self._positions, self._column, self._temperature, self._top_k, self._top_p):
            swap_rows(column, a, b)
        self._plan = None

    def sample(self, logits: npt.NDArray[np.float32]) -> tuple[Ints, Floats]:
        """Return ids and surprisals in bits for rows 0 … n-1 of logits (n, V), and move these rows on by one position."""
        n = len(logits)
        if self._plan is None or self._planned != n:
            self._plan = Plan.of(self._temperature[:n], self._top_k[:n], self._top_p[:n])
            self._planned = n
            self._scratch = self._all_scratch.first(n)
            self._used = int(self._column[:n].max(initial=0))
        if self._used == UNIFORM_BLOCK:
            self._refill(n)
        column = self._column[:n]
        u = self._uniforms[_ROWS[:n], column]
        column += 1
        self._used += 1
        return sample(logits, u, self._plan, self._scratch)

    def _refill(self, n: int) -> None:
        for row in np.flatnonzero(self._column[:n] == UNIFORM_BLOCK).tolist():
            self._positions[row] += UNIFORM_BLOCK
            self._uniforms[row] = uniforms(int(self._seeds[row]), int(self._positions[row]), UNIFORM_BLOCK)
            self._column[row] = 0
        self._used = int(self._column[:n].max())


def swap_rows(array: npt.NDArray[Any], a: int, b: int) -> None:
    """Exchange rows `a` and `b` of `array` in place."""
    array[[a, b]] = array[[b, a]]
