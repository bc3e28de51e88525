from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.engine.probabilities import GRID, Scratch, surprisal, weights_of
from ml.engine.sampler import Cut, Plan, Sampler, sample, truncate
from ml.engine.uniforms import uniforms
from ml.sampling import Sampling
from ml.vocabulary import MAX_SYMBOLS

SEEDS = st.integers(0, 2**64 - 1)


@given(seed=SEEDS, position=st.integers(0, 10_000), count=st.integers(1, 80))
def test_a_uniform_number_depends_on_seed_and_position_only(
    seed: int, position: int, count: int
) -> None:
    one_by_one = [uniforms(seed, position + index, 1)[0] for index in range(count)]
    block = uniforms(seed, position, count)
    assert block.tolist() == one_by_one
    assert (block >= 0).all()
    assert (block < 1).all()


def draw(
    logits: npt.NDArray[np.float32],
    u: npt.ArrayLike,
    temperature: Any = 1.0,
    top_k: Any = 0,
    top_p: Any = 1.0,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return ids and surprisals; a parameter is a number for all rows or one for each."""
    rows, columns = logits.shape
    full = (np.broadcast_to(value, rows) for value in (temperature, top_k, top_p))
    ids, measured = sample(logits, np.array(u), Plan.of(*full, columns - 1))
    return ids, surprisal(*measured)


def scaled(distance: npt.NDArray[np.float64]) -> Scratch:
    scratch = Scratch(*distance.shape)
    scratch.scaled[:] = distance * GRID
    return scratch


def test_weights_are_exp_to_ten_digits_and_whole() -> None:
    distance = np.concatenate([np.linspace(0, 8, 100_001), [31.9, 32, 1e3, 1e300, np.inf, np.nan]])
    weights = weights_of(scaled(distance[:, None]))[0, :, 0]
    assert np.array_equal(weights, np.floor(weights))
    np.testing.assert_allclose(
        weights[:100_001], 2.0**44 * np.exp(-distance[:100_001]), rtol=2e-11, atol=1
    )
    assert weights[0] == 2.0**44
    assert weights[-5:].tolist() == [0.0] * 5


@pytest.mark.parametrize("symbols", [511, 512, 513, 2_048, MAX_SYMBOLS - 1])
def test_sums_of_weights_are_exact_in_any_order(symbols: int) -> None:
    """Equal weights have the largest sum. If it did not fit, it would depend on the order."""
    scratch = scaled(np.zeros((1, symbols)))
    weights = weights_of(scratch)[0, 0]
    exact = symbols * (2**44 // scratch.smaller)
    assert exact <= 2**53
    assert {
        int(np.add.reduce(weights)),
        int(np.add.accumulate(weights)[-1]),
        int(math.fsum(weights)),
    } == {exact}
    assert scratch.smaller == (1 if symbols <= 512 else 2 ** math.ceil(math.log2(symbols / 512)))


@pytest.mark.parametrize("symbols", [92, 600, MAX_SYMBOLS - 1])
def test_any_number_of_symbols_is_sampled_evenly_and_measured_alike(symbols: int) -> None:
    logits = np.zeros((400, symbols + 1), np.float32)
    u = uniforms(1, 0, 400)
    ids, bits = draw(logits, u)
    assert ids.tolist() == [1 + math.floor(value * symbols) for value in u]
    assert bits == pytest.approx(math.log2(symbols), abs=1e-3)
    logits[:, -1] = 30  # nearly certain
    ids, bits = draw(logits, u, top_p=0.9)
    assert (set(ids.tolist()), bits.max()) == ({symbols}, 0.0)


logit_rows = st.lists(st.floats(-40, 40, width=32), min_size=3, max_size=12)
parameters = st.tuples(
    st.sampled_from([0.0, 5e-324, 1e-6, 0.3, 0.8, 1.0, 1.7, 100.0, 1e4]),
    st.sampled_from([0, 1, 2, 5, 1000]),
    st.sampled_from([1e-9, 0.1, 0.5, 0.9, 1.0]),
)


@given(
    row=logit_rows,
    others=st.integers(0, 20),
    at=st.integers(0, 20),
    chosen=parameters,
    u=st.floats(0, 1, exclude_max=True),
)
def test_a_row_does_not_depend_on_the_rows_beside_it(
    row: list[float], others: int, at: int, chosen: tuple[float, int, float], u: float
) -> None:
    at = min(at, others)
    generator = np.random.default_rng(others)
    logits = generator.normal(0, 5, (others + 1, len(row))).astype(np.float32)
    logits[at] = row
    us = generator.random(others + 1)
    us[at] = u
    temperature, top_k, top_p = (
        generator.choice(values, others + 1) for values in ([0, 0.5, 1], [0, 3], [0.5, 1.0])
    )
    temperature[at], top_k[at], top_p[at] = chosen
    ids, bits = draw(logits, us, temperature, top_k, top_p)
    alone = draw(logits[at : at + 1], us[at : at + 1], *chosen)
    assert (ids[at], bits[at]) == (alone[0][0], alone[1][0])


@given(row=logit_rows, chosen=parameters, u=st.floats(0, 1, exclude_max=True))
def test_extremes_give_a_known_symbol_that_is_not_cut_off(
    row: list[float], chosen: tuple[float, int, float], u: float
) -> None:
    temperature, top_k, top_p = chosen
    logits = np.array([row], np.float32)
    ids, bits = draw(logits, [u], *chosen)
    assert 1 <= ids[0] < len(row)
    assert math.isfinite(bits[0])
    assert bits[0] >= 0
    better = sum(value > logits[0, ids[0]] for value in logits[0, 1:])
    if top_k:
        assert better < top_k
    if top_k == 1 or top_p == 1e-9 or temperature == 0:
        assert better == 0


def test_temperature_0_takes_the_lowest_id_of_the_likeliest() -> None:
    logits = np.array([[9, 1, 3, 3, 2]], np.float32)
    assert draw(logits, [0.999], temperature=0.0)[0].tolist() == [2]


def test_the_unknown_symbol_is_never_sampled() -> None:
    logits = np.zeros((1, 4), np.float32)
    logits[0, 0] = 50
    ids = {int(draw(logits, [u])[0][0]) for u in np.linspace(0, 0.9999999, 50)}
    assert ids == {1, 2, 3}


def truncated(weights: list[float], top_k: int, top_p: float) -> list[float]:
    array = np.array([weights], float)
    if cut := Cut.of(np.array([top_k]), np.array([top_p]), len(weights)):
        truncate(array, cut, Scratch(1, len(weights)))
    row: list[float] = array[0].tolist()
    return row


def test_ties_at_the_edge_keep_the_lower_ids() -> None:
    weights = [4.0, 2.0, 2.0, 2.0, 1.0]
    assert truncated(weights, 3, 1.0) == [4.0, 2.0, 2.0, 0.0, 0.0]
    assert truncated(weights, 5, 0.5) == [4.0, 2.0, 0.0, 0.0, 0.0]


def test_frequencies_are_the_probabilities() -> None:
    logits = np.array([5.0, 0.0, 1.0, 2.0, -1.0], np.float32)
    count = 4_000
    for temperature in (0.7, 1.0, 1.5):
        ids, _ = draw(np.tile(logits, (count, 1)), uniforms(3, 0, count), temperature)
        probabilities = np.exp(logits[1:].astype(float) / temperature)
        probabilities /= probabilities.sum()
        frequencies = np.bincount(ids, minlength=5)[1:] / count
        np.testing.assert_allclose(frequencies, probabilities, atol=0.025)


def test_surprisal_is_that_of_the_model_whatever_was_cut_off() -> None:
    logits = np.array([[9.0, 0.0, 1.0, 2.0]], np.float32)
    probabilities = np.exp([0.0, 1.0, 2.0]) / np.exp([0.0, 1.0, 2.0]).sum()
    for chosen in ({}, {"temperature": 0.2}, {"top_k": 1}, {"top_p": 0.1}, {"temperature": 50.0}):
        ids, bits = draw(logits, [0.5], **chosen)
        assert bits[0] == pytest.approx(-np.log2(probabilities[ids[0] - 1]), abs=0.001)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_logit_that_is_not_finite_makes_the_distance_so_too(value: float) -> None:
    logits = np.array([[0.0, value, 1.0], [0.0, 1.0, 1.0]], np.float32)
    with np.errstate(invalid="ignore"):
        _, (distance, _) = sample(
            logits, np.array([0.5, 0.5]), Plan.of(np.ones(2), np.zeros(2, int), np.ones(2), 2)
        )
    assert np.isfinite(distance).tolist() == [False, True]


def test_rows_keep_their_numbers_when_they_move() -> None:
    """Each stream gets the numbers of its own seed and position, whatever is swapped in between."""
    logits = np.zeros((3, 50), np.float32)  # uniform over 49 symbols: the id tells u
    sampler = Sampler(3, 50)
    rows = [7, 8, 9]
    for row, seed in enumerate(rows):
        sampler.set(row, Sampling(length=1, seed=seed), 5 * row)
    got: dict[int, list[int]] = {7: [], 8: [], 9: []}
    generator = np.random.default_rng(0)
    for _ in range(200):
        n = int(generator.integers(1, 4))
        ids, _ = sampler.sample(logits[:n])
        for row in range(n):
            got[rows[row]].append(int(ids[row]))
        a, b = generator.integers(0, 3, 2)
        sampler.swap(int(a), int(b))
        rows[a], rows[b] = rows[b], rows[a]
    for seed, start in ((7, 0), (8, 5), (9, 10)):
        expected = 1 + np.floor(uniforms(seed, start, len(got[seed])) * 49).astype(int)
        assert got[seed] == expected.tolist()
