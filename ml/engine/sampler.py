"""Logits to characters: temperature, top-k, top-p and the inverse CDF, for a batch of rows at once.

The text of a stream must not depend on the rows beside it, on the number of rows, or on the CPU.
Three things see to it:

* The uniform number of a character is u = f(seed, position), from the counter-based generator Philox4x64-10: the number of
  draws before it does not matter, and there is no generator state to save.
* Probabilities are whole numbers: the weight of a symbol is floor(2^44 · exp(-d/T)), d its distance to the largest logit.
  Sums of up to 512 such numbers are at most 2^53, so they are exact in float64 in whatever order a CPU adds them up. With more
  symbols the unit is smaller, by the power of two that keeps it so.
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

from ml.sampling import Sampling

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

UNIFORM_BLOCK = (
    64  # uniform numbers drawn ahead for a row: making the generator costs more than the numbers
)

GRID = 128  # table entries for one nat: 32 KiB in all, so that it stays in the cache beside the weights of a step
_NATS = 32  # exp(-32) · 2^44 < 1: beyond it a weight is 0
_UNIT_BITS = 44
_UNIT = 2.0**_UNIT_BITS  # weight of the likeliest symbol, as long as there are no more than _MANY
_MANY = 512  # symbols
_COLDEST = 1e-9  # only equal logits share at this temperature; below it, distances would overflow


def _exp_table() -> Floats:
    """Return 2^44 · exp(-k / GRID) for k = 0 … 32 · GRID; the last entry stands for all beyond and is 0."""
    context = decimal.Context(prec=40)
    fine = np.array([float(context.exp(-decimal.Decimal(k) / GRID)) for k in range(GRID)])
    coarse = np.array([float(context.exp(-decimal.Decimal(k))) for k in range(_NATS)])
    return np.append(np.outer(coarse * _UNIT, fine).ravel(), 0.0)


_TABLE = _exp_table()

# Arrays, because for one row half the cost of a numpy call with a Python number is to make an array
# of the number.
_FARTHEST = np.array(float(_NATS * GRID))
_EXP_1, _EXP_2, _EXP_3 = (
    np.array(1 / GRID),
    np.array(1 / (2 * GRID**2)),
    np.array(1 / (6 * GRID**3)),
)  # of the polynomial
_ONE = np.array(1.0)

_LOG2_E = 1.4426950408889634
_SURPRISAL_STEPS = 1000.0  # surprisals are rounded to a thousandth of a bit


class Scratch:
    """Arrays to work in, for logits of shape (n, symbols + 1); all are contiguous, which halves the cost of a call for one row.

    Temporaries of this size would make malloc return and fault in pages at every step.
    """

    def __init__(self, n: int, symbols: int) -> None:
        shape = (2, n, symbols)
        self.smaller = (
            1 << ((symbols - 1) // _MANY).bit_length()
        )  # a power of two: what the unit is divided by
        self.table = _TABLE if self.smaller == 1 else _TABLE / self.smaller
        self.scaled, self.nearest, self.weights = np.empty(shape), np.empty(shape), np.empty(shape)
        self.index = np.empty(shape, np.intp)
        self.distance = np.empty((n, symbols))
        self.above = np.empty((n, symbols), np.bool_)
        self.ordered = np.full(
            (n, symbols + 1), -1.0
        )  # column 0 keeps its -1: something smaller than the smallest weight
        self.cumulative = self.scaled[0]
        self.total = self.cumulative[:, -1:]
        self.starts = np.arange(0, n * symbols, symbols)[
            :, None
        ]  # of the rows in the flat `distance`
        self.top, self.target = np.empty((2, n, 1))
        self.chosen, self.flat = np.empty((2, n, 1), np.intp)
        self.measured = np.empty((2, n, 1))


def weights_of(scratch: Scratch) -> Floats:
    """Set and return `scratch.weights`, for d >= 0 in `scratch.scaled` / GRID.

    They are floor(2^44 / `scratch.smaller` · exp(-d)), whole float64 numbers. NaN gives 0. The
    other arrays of the same shape are overwritten.
    """
    scaled, nearest, index, weights = (
        scratch.scaled,
        scratch.nearest,
        scratch.index,
        scratch.weights,
    )
    np.fmin(scaled, _FARTHEST, out=scaled)
    np.rint(scaled, out=nearest)
    index[...] = nearest
    scratch.table.take(index, out=weights, mode="clip")
    rest = np.subtract(
        nearest, scaled, out=nearest
    )  # exp(-d) = exp(-nearest / GRID) · exp(rest / GRID), |rest| <= 1/2
    polynomial = np.multiply(rest, _EXP_3, out=scaled)
    polynomial += _EXP_2
    polynomial *= rest
    polynomial += _EXP_1
    polynomial *= rest
    polynomial += _ONE
    weights *= polynomial
    return np.floor(weights, out=weights)


def uniforms(seed: int, position: int, count: int) -> Floats:
    """Return u(seed, p) in [0, 1) for p = position … position + count - 1.

    u(seed, p) is the upper 53 bits of word p of numpy's Philox (4x64, 10 rounds) with the key
    (seed, 0): word p % 4 of the block whose counter is p // 4 + 1, as numpy counts on before it
    draws.
    """
    block, skipped = divmod(position, 4)
    raw = np.random.Philox(key=seed, counter=block).random_raw(skipped + count)
    return (raw[skipped:] >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True, slots=True)
class Cut:
    """What top_k and top_p leave of some rows."""

    kept: Ints  # (n,) symbols that top_k leaves, at least 1
    top_p: Floats | None  # (n,); None if no row has one
    rows: Ints  # (n,) 0 … n-1
    ends: Ints  # (2, n): of each row in the flat `Scratch.ordered`, and the place before it
    edges: Ints  # (2, n): of the smallest weight that top_k keeps and the largest that it does not

    @classmethod
    def of(cls, top_k: Ints, top_p: Floats, symbols: int) -> Cut | None:
        """Return None when nothing is cut off: a top_k of at least `symbols`, a top_p of 1."""
        n, kept, cuts_p = len(top_k), np.minimum(top_k, symbols), bool((top_p < 1).any())
        if not cuts_p and (kept == symbols).all():
            return None
        ends = np.arange(1, n + 1) * (symbols + 1)
        both = np.stack((ends, ends - 1))
        return cls(kept, top_p if cuts_p else None, np.arange(n), both, both - kept)


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of some rows, sorted out once for as long as the same streams are in them."""

    divisor: Floats  # (2, n, 1): temperature 1, for the surprisal, and the row's own, both / GRID
    greedy: npt.NDArray[np.bool_] | None  # (n, 1): rows of temperature 0; None if there are none
    cut: Cut | None  # None if no row has a top_k or top_p

    @classmethod
    def of(cls, temperature: Floats, top_k: Ints, top_p: Floats, symbols: int) -> Plan:
        """Return the plan for rows with these parameters, each (n,); top_k 0 and top_p 1 cut nothing off."""
        greedy = temperature == 0
        return cls(
            divisor=np.stack((np.ones(len(temperature)), np.fmax(temperature, _COLDEST)))[
                :, :, None
            ]
            / GRID,
            greedy=greedy[:, None] if greedy.any() else None,
            cut=Cut.of(
                np.where((top_k > 0) & ~greedy, top_k, symbols),
                np.where(greedy, 1.0, top_p),
                symbols,
            ),
        )


def sample(
    logits: npt.NDArray[np.float32], u: Floats, plan: Plan, scratch: Scratch | None = None
) -> tuple[Ints, Floats]:
    """Return the sampled ids (n,) and what `surprisal` takes (2, n) for logits (n, V) and uniform numbers (n,).

    temperature 0 takes the likeliest symbol, the lowest id on ties. top_k counts symbols; top_p is
    the share of the probability that is kept, after top_k. Both keep at least one symbol, and the
    lower ids where weights are equal. The distance is not finite, and the id means nothing, where a
    logit is not a finite number. What is returned lies in `scratch`.
    """
    s = scratch or Scratch(len(logits), logits.shape[1] - 1)
    distance, flat, chosen = s.distance, s.flat, s.chosen
    np.copyto(distance, logits[:, 1:])
    likeliest = distance.argmax(1, keepdims=True)
    distance.take(
        np.add(likeliest, s.starts, out=flat), out=s.top, mode="clip"
    )  # far cheaper than numpy's maximum
    np.subtract(s.top, distance, out=distance)
    np.divide(distance, plan.divisor, out=s.scaled)
    own, weights = weights_of(s)
    if plan.cut is not None:
        truncate(weights, plan.cut, s)
    np.add.accumulate(weights, 1, out=s.cumulative)
    np.multiply(u[:, None], s.total, out=s.target)
    np.greater(s.cumulative, s.target, out=s.above).argmax(1, chosen, keepdims=True)
    if plan.greedy is not None:
        np.copyto(chosen, likeliest, where=plan.greedy)
    measured = s.measured
    distance.take(np.add(chosen, s.starts, out=flat), out=measured[0], mode="clip")
    np.add.reduce(own, 1, out=measured[1], keepdims=True)
    if s.smaller > 1:
        measured[1] *= s.smaller
    chosen += 1
    return chosen[:, 0], measured[:, :, 0]


def surprisal(distance: npt.ArrayLike, total: npt.ArrayLike) -> Floats:
    """Return the bits of sampled characters (n,), to a thousandth: -log2 of their probability in the model's own distribution.

    That is at temperature 1, with nothing cut off and without the unknown symbol. `distance` (n,)
    is to the likeliest symbol, in nats, `total` (n,) the sum of the weights. Apart from `sample`,
    because nobody waits for it there.
    """
    bits: Floats = np.asarray(distance) * _LOG2_E + (np.log2(total) - _UNIT_BITS)
    return np.rint(bits * _SURPRISAL_STEPS) / _SURPRISAL_STEPS


def truncate(weights: Floats, cut: Cut, scratch: Scratch) -> None:
    """Set what is cut off to 0 in `weights` (n, symbols)."""
    ordered, kept, edges = scratch.ordered, cut.kept, cut.edges
    ordered[:, 1:] = weights
    ordered.sort(1)
    if cut.top_p is not None:
        cumulative = ordered[:, :0:-1].cumsum(axis=1)
        goal = np.where(cut.top_p < 1, cut.top_p * cumulative[cut.rows, kept - 1], np.inf)
        kept = np.minimum(kept, np.count_nonzero(cumulative < goal[:, None], axis=1) + 1)
        edges = cut.ends - kept
    least, below = ordered.take(
        edges
    )  # the smallest weight that is kept, and the largest that is not
    np.putmask(weights, weights < least[:, None], 0.0)
    equal = least == below
    if True in equal.tolist():  # rare: equal weights, of which only the lower ids fit
        _keep_lower_ids(
            weights, least, kept, equal & (least > 0)
        )  # those of weight 0 are cut off anyway


def _keep_lower_ids(
    weights: Floats, least: Floats, kept: Ints, equal: npt.NDArray[np.bool_]
) -> None:
    for row in np.flatnonzero(equal).tolist():
        candidates = np.flatnonzero(weights[row] == least[row])
        surplus = np.count_nonzero(weights[row]) - kept[row]
        weights[row, candidates[len(candidates) - surplus :]] = 0.0


class Sampler:
    """The sampling parameters and positions of a fixed number of rows."""

    def __init__(self, rows: int, vocab_size: int) -> None:
        self._seeds = np.zeros(rows, np.uint64)
        self._positions = np.zeros(rows, np.int64)  # of the first number in the row's block
        self._uniforms = np.zeros((rows, UNIFORM_BLOCK))
        self._starts = UNIFORM_BLOCK * np.arange(rows)  # of the rows in the flat `_uniforms`
        self._next = self._starts.copy()  # where in the flat `_uniforms` the row's next number is
        self._temperature = np.ones(rows)
        self._top_k = np.zeros(rows, np.int64)
        self._top_p = np.ones(rows)
        self._symbols = vocab_size - 1
        self._plan: Plan | None = None
        self._planned = 0  # rows that the plan and the scratch are for
        self._left = 0  # every row has at least this many numbers left
        self._scratch = Scratch(0, self._symbols)

    def set(self, row: int, sampling: Sampling, position: int) -> None:
        """Put a stream into `row` whose next character has index `position`."""
        self._seeds[row] = sampling.seed
        self._positions[row] = position
        self._uniforms[row] = uniforms(sampling.seed, position, UNIFORM_BLOCK)
        self._next[row] = self._starts[row]
        self._temperature[row] = sampling.temperature
        self._top_k[row] = sampling.top_k or 0
        self._top_p[row] = 1.0 if sampling.top_p is None else sampling.top_p
        self._plan = None

    def swap(self, a: int, b: int) -> None:
        """Exchange two rows."""
        self._next -= self._starts
        parameters = (self._seeds, self._positions, self._temperature, self._top_k, self._top_p)
        for column in (self._uniforms, self._next, *parameters):
            swap_rows(column, a, b)
        self._next += self._starts
        self._plan = None

    def sample(self, logits: npt.NDArray[np.float32]) -> tuple[Ints, Floats]:
        """Return what `sample` does for rows 0 … n-1 of logits (n, V), and move these rows on by one position.

        It is valid until the next call.
        """
        n = len(logits)
        plan = self._plan
        if plan is None or self._planned != n:
            plan = self._prepare(n)
        if not self._left:
            self._refill(n)
        following = self._next[:n]
        u = self._uniforms.take(following)
        following += 1
        self._left -= 1
        return sample(logits, u, plan, self._scratch)

    def _prepare(self, n: int) -> Plan:
        if self._planned != n:
            self._scratch = Scratch(n, self._symbols)
        self._planned = n
        self._left = self._least_left(n)
        self._plan = Plan.of(self._temperature[:n], self._top_k[:n], self._top_p[:n], self._symbols)
        return self._plan

    def _least_left(self, n: int) -> int:
        return UNIFORM_BLOCK - int((self._next - self._starts)[:n].max(initial=0))

    def _refill(self, n: int) -> None:
        for row in np.flatnonzero((self._next - self._starts)[:n] == UNIFORM_BLOCK).tolist():
            self._positions[row] += UNIFORM_BLOCK
            self._uniforms[row] = uniforms(
                int(self._seeds[row]), int(self._positions[row]), UNIFORM_BLOCK
            )
            self._next[row] = self._starts[row]
        self._left = self._least_left(n)


def swap_rows(array: npt.NDArray[Any], a: int, b: int) -> None:
    """Exchange rows `a` and `b` of `array` in place."""
    array[[a, b]] = array[[b, a]]
