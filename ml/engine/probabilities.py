"""Exact probabilities: whole numbers in place of exp, so that their sums depend on no order.

The weight of a symbol is floor(2^44 · exp(-d)), where d is its distance to the largest logit in
units of the temperature. Sums of up to 512 such numbers are at most 2^53, so they are exact in
float64 in any order of addition. With more symbols the unit is smaller, by the power of two that
keeps the sums exact.

exp is a table of products of exactly rounded numbers and a short polynomial, in additions and
multiplications, which IEEE 754 defines to the last bit. numpy's own exp differs between AVX2 and
AVX-512. The relative error is below 1e-10.
"""

from __future__ import annotations

import decimal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

GRID = 128  # table entries for one nat: 32 KiB in all, which fits the cache beside a step's weights
_NATS = 32  # exp(-32) · 2^44 < 1: the weight of a larger distance is 0
_UNIT_BITS = 44
_UNIT = 2.0**_UNIT_BITS  # weight of the likeliest symbol among at most _MANY
_MANY = 512  # symbols

_LOG2_E = 1.4426950408889634
_SURPRISAL_STEPS = 1000.0  # surprisals are rounded to a thousandth of a bit


def _exp_table() -> Floats:
    """Return 2^44 · exp(-k / GRID) for k = 0 … 32 · GRID; the last entry, for all beyond, is 0."""
    context = decimal.Context(prec=40)
    fine = np.array([float(context.exp(-decimal.Decimal(k) / GRID)) for k in range(GRID)])
    coarse = np.array([float(context.exp(-decimal.Decimal(k))) for k in range(_NATS)])
    return np.append(np.outer(coarse * _UNIT, fine).ravel(), 0.0)


_TABLE = _exp_table()

# Arrays, because numpy would make one of a Python number at each call, which is half the cost of a
# call for one row.
_FARTHEST = np.array(float(_NATS * GRID))
_ONE = np.array(1.0)
_EXP_1 = np.array(1 / GRID)  # coefficients of the polynomial
_EXP_2 = np.array(1 / (2 * GRID**2))
_EXP_3 = np.array(1 / (6 * GRID**3))


class Scratch:
    """Arrays to work in, for logits of shape (n, symbols + 1).

    Allocated once: temporaries of this size would make malloc return and fault in pages at every
    step. All are contiguous, which halves the cost of a call for one row.
    """

    def __init__(self, n: int, symbols: int) -> None:
        shape = (2, n, symbols)
        self.smaller = 1 << ((symbols - 1) // _MANY).bit_length()  # the unit is divided by it
        self.table = _TABLE if self.smaller == 1 else _TABLE / self.smaller
        self.scaled, self.nearest, self.weights = np.empty(shape), np.empty(shape), np.empty(shape)
        self.index = np.empty(shape, np.intp)
        self.distance = np.empty((n, symbols))
        self.above = np.empty((n, symbols), np.bool_)
        self.ordered = np.full((n, symbols + 1), -1.0)  # column 0 stays below every weight
        self.cumulative = self.scaled[0]
        self.total = self.cumulative[:, -1:]
        self.starts = np.arange(0, n * symbols, symbols)[:, None]  # of rows in the flat `distance`
        self.top, self.target = np.empty((2, n, 1))
        self.chosen, self.flat = np.empty((2, n, 1), np.intp)
        self.measured = np.empty((2, n, 1))


def weights_of(scratch: Scratch) -> Floats:
    """Set and return `scratch.weights`, for distances d >= 0 in `scratch.scaled`, times GRID.

    They are floor(2^44 / `scratch.smaller` · exp(-d)), whole float64 numbers; 0 where d is NaN.
    The other arrays of the same shape are overwritten.
    """
    scaled, nearest, weights = scratch.scaled, scratch.nearest, scratch.weights
    np.fmin(scaled, _FARTHEST, out=scaled)
    np.rint(scaled, out=nearest)
    scratch.index[...] = nearest
    scratch.table.take(scratch.index, out=weights, mode="clip")
    # exp(-d) = exp(-nearest / GRID) · exp(rest / GRID), with |rest| <= 1/2
    rest = np.subtract(nearest, scaled, out=nearest)
    polynomial = np.multiply(rest, _EXP_3, out=scaled)
    polynomial += _EXP_2
    polynomial *= rest
    polynomial += _EXP_1
    polynomial *= rest
    polynomial += _ONE
    weights *= polynomial
    return np.floor(weights, out=weights)


def surprisal(distance: npt.ArrayLike, total: npt.ArrayLike) -> Floats:
    """Return the bits of sampled characters (n,), rounded to a thousandth.

    They are -log2 of the characters' probability in the model's own distribution: at temperature 1,
    with nothing cut off and without the unknown symbol. `distance` (n,) is to the likeliest symbol,
    in nats; `total` (n,) is the sum of the weights. `sample` leaves this for later, because no
    character waits for it.
    """
    bits: Floats = np.asarray(distance) * _LOG2_E + (np.log2(total) - _UNIT_BITS)
    return np.rint(bits * _SURPRISAL_STEPS) / _SURPRISAL_STEPS
