"""Logits to characters: temperature, top-k, top-p and the inverse CDF, for a batch of rows at once.

The text of a stream must not depend on the rows beside it, on the number of rows, or on the CPU.
Uniform numbers that depend on seed and position only (uniforms.py) and exact probabilities
(probabilities.py) ensure this. Symbol 0, the unknown one, has no weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.engine.probabilities import GRID, Floats, Scratch, weights_of
from ml.engine.uniforms import uniforms
from ml.sampling import Sampling

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

UNIFORM_BLOCK = 64  # numbers drawn ahead for a row: the generator costs more than the numbers
_COLDEST = 1e-9  # only equal logits share at this temperature; below it, distances would overflow


@dataclass(frozen=True, slots=True)
class Cut:
    """What top_k and top_p leave of some rows."""

    kept: Ints  # (n,) symbols that top_k leaves, at least 1
    top_p: Floats | None  # (n,); None if no row has one
    rows: Ints  # (n,) 0 … n-1
    ends: Ints  # (2, n) end of each row in the flat `Scratch.ordered`, and the place before it
    edges: Ints  # (2, n) place of the smallest weight that top_k keeps, and the place before it

    @classmethod
    def of(cls, top_k: Ints, top_p: Floats, symbols: int) -> Cut | None:
        """Return the cut, or None if every top_k is at least `symbols` and every top_p is 1."""
        n, kept, cuts_p = len(top_k), np.minimum(top_k, symbols), bool((top_p < 1).any())
        if not cuts_p and (kept == symbols).all():
            return None
        ends = np.arange(1, n + 1) * (symbols + 1)
        both = np.stack((ends, ends - 1))
        return cls(kept, top_p if cuts_p else None, np.arange(n), both, both - kept)


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of some rows, prepared once for many steps."""

    divisor: Floats  # (2, n, 1) temperature 1, for the surprisal, and the row's own, both / GRID
    greedy: Flags | None  # (n, 1) rows of temperature 0; None if there are none
    cut: Cut | None  # None if no row has a top_k or top_p

    @classmethod
    def of(cls, temperature: Floats, top_k: Ints, top_p: Floats, symbols: int) -> Plan:
        """Return the plan for parameters of shape (n,); top_k 0 and top_p 1 cut nothing off."""
        greedy = temperature == 0
        divisor = np.stack((np.ones(len(temperature)), np.fmax(temperature, _COLDEST)))
        kept = np.where((top_k > 0) & ~greedy, top_k, symbols)
        return cls(
            divisor=divisor[:, :, None] / GRID,
            greedy=greedy[:, None] if greedy.any() else None,
            cut=Cut.of(kept, np.where(greedy, 1.0, top_p), symbols),
        )


def sample(
    logits: npt.NDArray[np.float32], u: Floats, plan: Plan, scratch: Scratch | None = None
) -> tuple[Ints, Floats]:
    """Return the sampled ids (n,) and the arguments of `surprisal` (2, n).

    `logits` has the shape (n, V), the uniform numbers `u` (n,). Temperature 0 takes the likeliest
    symbol, the lowest id on ties. top_k counts symbols; top_p is the share of the probability that
    is kept, after top_k. Both keep at least one symbol, and the lower ids among equal weights.
    Where a logit is not a finite number, the distance is not finite either and the id has no
    meaning. The results are views of `scratch`.
    """
    s = scratch or Scratch(len(logits), logits.shape[1] - 1)
    distance, flat, chosen = s.distance, s.flat, s.chosen
    np.copyto(distance, logits[:, 1:])
    likeliest = distance.argmax(1, keepdims=True)
    # far cheaper than numpy's maximum
    distance.take(np.add(likeliest, s.starts, out=flat), out=s.top, mode="clip")
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


def truncate(weights: Floats, cut: Cut, scratch: Scratch) -> None:
    """Set the `weights` (n, symbols) that are cut off to 0."""
    ordered, kept, edges = scratch.ordered, cut.kept, cut.edges
    ordered[:, 1:] = weights
    ordered.sort(1)
    if cut.top_p is not None:
        cumulative = ordered[:, :0:-1].cumsum(axis=1)
        goal = np.where(cut.top_p < 1, cut.top_p * cumulative[cut.rows, kept - 1], np.inf)
        kept = np.minimum(kept, np.count_nonzero(cumulative < goal[:, None], axis=1) + 1)
        edges = cut.ends - kept
    least, below = ordered.take(edges)  # the smallest weight kept, and the largest not kept
    np.putmask(weights, weights < least[:, None], 0.0)
    equal = least == below
    if True in equal.tolist():  # rare: equal weights, of which only the lower ids fit
        _keep_lower_ids(weights, least, kept, equal & (least > 0))


def _keep_lower_ids(weights: Floats, least: Floats, kept: Ints, equal: Flags) -> None:
    """Cut off the higher ids of weight `least` in the rows that are `equal` at the edge."""
    for row in np.flatnonzero(equal).tolist():
        candidates = np.flatnonzero(weights[row] == least[row])
        surplus = np.count_nonzero(weights[row]) - kept[row]
        weights[row, candidates[len(candidates) - surplus :]] = 0.0


class Sampler:
    """Samples for a fixed number of rows, and keeps their parameters and positions."""

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
        """Give `row` to a stream whose next character has the index `position`."""
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
        """Return what `sample` returns for rows 0 … n-1, given logits (n, V).

        Moves these rows on by one position. The result is valid until the next call.
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
