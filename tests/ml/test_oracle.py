"""Every way to write a text, against its plain definition in oracle.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml.config import ModelConfig
from ml.engine.engine import Engine, Request, Stream
from ml.engine.offline import generate
from ml.engine.probabilities import Scratch
from ml.engine.sampler import Cut, Plan, Sampler, sample, truncate
from ml.engine.step import OnnxStep
from ml.engine.uniforms import uniforms
from ml.sampling import Sampling
from ml.versions.graph import build_int8_graph
from ml.versions.load import start_engine
from ml.versions.version import Version
from ml.versions.weights import read_weights
from ml.vocabulary import UNKNOWN, Vocabulary, normalize
from tests.ml import oracle
from tests.ml.conftest import MODEL, SYMBOLS, random_weights
from tests.ml.streams import SECONDS

Asked = dict[str, Any]  # what a text depends on, as oracle.write names it


def request_of(asked: Asked) -> Request:
    """Return the engine's request for what the oracle is asked."""
    rest = {name: value for name, value in asked.items() if name not in ("prompt", "text")}
    return Request(asked["prompt"], Sampling(**rest), text=asked.get("text", ""))


def set_row(sampler: Sampler, row: int, seed: int, position: int, chosen: Asked) -> None:
    """Put parameters, as oracle.draw names them, into a row of the sampler."""
    sampler.set(row, Sampling(length=1, seed=seed, **chosen), position)


def plan_of(chosen: list[Asked], symbols: int) -> Plan:
    """Return the sampler's plan for rows with such parameters."""
    return Plan.of(
        np.array([each["temperature"] for each in chosen]),
        np.array([each["top_k"] or 0 for each in chosen]),
        np.array([each["top_p"] or 1.0 for each in chosen]),
        symbols,
    )


# The parts of the oracle


@pytest.mark.parametrize(
    ("counter", "key", "block"),
    [
        ("0 0 0 0", "0 0", "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
        (
            "ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff",
            "ffffffffffffffff ffffffffffffffff",
            "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
        ),
        (
            "243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89",
            "452821e638d01377 be5466cf34e90c6c",
            "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_the_oracle_gives_the_published_blocks_of_philox(
    counter: str, key: str, block: str
) -> None:
    """The known answers of Random123, by the authors of Philox."""
    c0, c1, c2, c3 = (int(word, 16) for word in counter.split())
    k0, k1 = (int(word, 16) for word in key.split())
    assert " ".join(f"{word:016x}" for word in oracle.philox((c0, c1, c2, c3), (k0, k1))) == block


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1, 0x123456789ABCDEF])
def test_uniform_numbers_are_those_of_the_oracle(seed: int) -> None:
    assert uniforms(seed, 3, 50).tolist() == [oracle.uniform(seed, at) for at in range(3, 53)]


@settings(max_examples=40)
@given(text=st.text() | st.text("\r\n\t\ufeff\u2018\u201e\u2033\u2057\u00ab\u00b4\ufb01a'\""))
def test_texts_are_normalised_as_the_oracle_does(text: str) -> None:
    assert normalize(text) == oracle.normalized(text)


# Sampling

levels = st.sampled_from([-3.0, -1.0, 0.0, 2.0, 2.0 + 2**-22])  # many ties
spread = st.floats(-40, 40, width=32)
extreme = st.sampled_from([-np.inf, -3e38, -1e-40, 0.0, 1e30, 3e38])
tiny = st.sampled_from([0.0, 3e-10, 1e-9, -2e-9])  # told apart at the lowest temperature
logits = st.sampled_from([levels, spread, extreme, tiny])
parameters = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from(
            [0.0, 5e-324, 1e-9, 1e-6, 0.3, 0.8, 1.0, 1.7, 100.0, 1e15, 1e300]
        ),
        "top_k": st.sampled_from([None, 1, 2, 3, 5, 1000]),
        "top_p": st.sampled_from([None, 1e-300, 1e-9, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]),
    }
)


@st.composite
def rows(draw: st.DrawFn) -> list[list[float]]:
    """1 to 8 rows of logits: one for each of up to 11 known symbols, and one of the unknown."""
    symbols = draw(st.integers(1, 11))
    known = draw(logits.map(lambda kind: st.lists(kind, min_size=symbols, max_size=symbols)))
    some = known.filter(lambda row: max(row) > -np.inf)
    unknown = st.sampled_from([0.0, 99.0, -np.inf])
    row = st.tuples(unknown, some).map(lambda both: [both[0], *both[1]])
    return draw(st.lists(row, min_size=1, max_size=8))


@given(
    weights=st.lists(st.integers(0, 4), min_size=1, max_size=12).filter(any),
    top_k=st.integers(1, 14),
    top_p=st.sampled_from([0.01, 0.25, 0.5, 0.75, 0.99, 1.0]),
)
def test_top_k_and_top_p_keep_the_weights_that_the_oracle_keeps(
    weights: list[int], top_k: int, top_p: float
) -> None:
    row = np.array([weights], float)
    if cut := Cut.of(np.array([top_k]), np.array([top_p]), len(weights)):
        truncate(row, cut, Scratch(1, len(weights)))
    assert row[0].tolist() == oracle.keep(weights, top_k, top_p)


borders = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1 - 2**-53])  # of equally likely symbols


@settings(max_examples=120)
@given(
    rows=rows(),
    chosen=st.lists(parameters, min_size=8, max_size=8),
    u=st.lists(borders | st.floats(0, 1, exclude_max=True), min_size=8, max_size=8),
)
def test_sampling_equals_the_oracle_in_every_row(
    rows: list[list[float]], chosen: list[Asked], u: list[float]
) -> None:
    batch, n = np.array(rows, np.float32), len(rows)
    ids, (distances, totals) = sample(
        batch, np.array(u[:n]), plan_of(chosen[:n], batch.shape[1] - 1)
    )
    for row, values in enumerate(batch.tolist()):
        drawn = oracle.Draw(int(ids[row]), distances[row], int(totals[row]))
        assert drawn == oracle.draw(values, u[row], **chosen[row])


@settings(max_examples=50)
@given(
    rows=rows(),
    chosen=st.lists(parameters, min_size=8, max_size=8),
    seed=st.integers(0, 2**64 - 9),
    position=st.integers(0, 10_000),
)
def test_the_sampler_draws_with_the_number_of_each_seed_and_position(
    rows: list[list[float]], chosen: list[Asked], seed: int, position: int
) -> None:
    sampler = Sampler(len(rows), len(rows[0]))
    for row in range(len(rows)):
        set_row(sampler, row, seed + row, position, chosen[row])
    batch = np.array(rows, np.float32)
    for at in (position, position + 1):
        ids, (distances, totals) = sampler.sample(batch)
        for row, values in enumerate(batch.tolist()):
            expected = oracle.draw(values, oracle.uniform(seed + row, at), **chosen[row])
            assert oracle.Draw(int(ids[row]), distances[row], int(totals[row])) == expected


@pytest.mark.parametrize("symbols", [512, 513, 1_024, 1_025])
@pytest.mark.parametrize("scale", [0.0, 3.0], ids=["equal", "spread"])
def test_the_sampler_equals_the_oracle_with_many_symbols(symbols: int, scale: float) -> None:
    row = np.random.default_rng(symbols).normal(0, scale, symbols + 1).astype(np.float32)
    for chosen in ({"top_k": None, "top_p": None}, {"top_k": symbols // 2, "top_p": 0.95}):
        sampler = Sampler(1, symbols + 1)
        set_row(sampler, 0, 7, 0, {"temperature": 1.3, **chosen})
        ids, (distances, totals) = sampler.sample(row[None])
        expected = oracle.draw(row.tolist(), oracle.uniform(7, 0), 1.3, **chosen)
        assert oracle.Draw(int(ids[0]), distances[0], int(totals[0])) == expected


# Logits


@pytest.mark.parametrize(
    "model", [MODEL, ModelConfig(7, hidden_size=17, num_layers=1), ModelConfig(31, 37, 3)], ids=str
)
def test_the_step_graph_gives_the_logits_of_the_oracle(model: ModelConfig) -> None:
    weights = random_weights(model)
    step = OnnxStep(build_int8_graph(model, weights), model, rows=1, threads=1)
    network = oracle.Network(model, weights)
    for symbol in np.random.default_rng(0).integers(0, model.vocab_size, 100).tolist():
        step.ids[0] = symbol
        assert step.run(0, 1)[0].tolist() == network.feed(symbol)


# Texts

requests = st.fixed_dictionaries(
    {
        "prompt": st.text(alphabet=SYMBOLS + "\u201c\u2603\u00e9\ufb01\r", max_size=20),
        "length": st.integers(1, 100),  # beyond the uniform numbers that are drawn at once
        "seed": st.one_of(st.sampled_from([0, 2**64 - 1]), st.integers(0, 2**64 - 1)),
        "temperature": st.sampled_from([0.0, 1e-6, 0.5, 0.8, 1.0, 1.3, 100.0]),
        "top_k": st.sampled_from([None, 1, 3, 10, 300]),
        "top_p": st.sampled_from([None, 1e-9, 0.5, 0.9, 1.0]),
        "stop": st.lists(st.text("aeth \n", min_size=1, max_size=3), max_size=3).map(tuple),
    }
)


@pytest.fixture(scope="module")
def engine(version: Version) -> Iterator[Engine]:
    engine = start_engine(version, max_streams=8, threads=1)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def network(version: Version) -> oracle.Network:
    return oracle.Network(version.model, read_weights(version))


def check(stream: Stream, answer: oracle.Answer) -> None:
    """Assert that a stream ended as the oracle says; its bits are rounded to thousandths."""
    assert stream.wait(SECONDS)
    assert (stream.text, stream.reason) == (answer.text, answer.reason)
    assert stream.surprisal == pytest.approx(answer.bits, abs=0.0005 + 1e-9)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(requests, min_size=1, max_size=3), resumed_at=st.integers(0, 100))
def test_engine_and_offline_write_the_text_of_the_oracle(
    engine: Engine,
    step: OnnxStep,
    version: Version,
    network: oracle.Network,
    asked: list[Asked],
    resumed_at: int,
) -> None:
    answers = [oracle.write(network, SYMBOLS, **each) for each in asked]
    resumed = {**asked[0], "text": answers[0].text[:resumed_at]}
    asked, answers = [*asked, resumed], [*answers, oracle.write(network, SYMBOLS, **resumed)]
    assert answers[-1].text == answers[0].text
    streams = [engine.submit(request_of(each)) for each in asked]
    for stream, each, answer in zip(streams, asked, answers, strict=True):
        check(stream, answer)
        check(generate(step, version.vocabulary, request_of(each)), answer)


FEW = Vocabulary(UNKNOWN + "'a")  # so that stop strings come often, overlap and nearly come


stop_strings = st.integers(1, 6).flatmap(lambda n: st.text("'\u2019a", min_size=n, max_size=n))


@pytest.fixture(scope="module")
def babble() -> tuple[OnnxStep, oracle.Network]:
    model = ModelConfig(len(FEW), hidden_size=8, num_layers=1)
    weights = random_weights(model)
    step = OnnxStep(build_int8_graph(model, weights), model, rows=1, threads=1)
    return step, oracle.Network(model, weights)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**64 - 1),
    length=st.integers(1, 20),
    stop=st.lists(stop_strings, min_size=1, max_size=2).map(tuple),
    resumed_at=st.integers(0, 20),
)
def test_stop_strings_end_a_text_where_the_oracle_finds_them(
    babble: tuple[OnnxStep, oracle.Network],
    seed: int,
    length: int,
    stop: tuple[str, ...],
    resumed_at: int,
) -> None:
    step, network = babble
    whole: Asked = {"prompt": "a", "length": length, "seed": seed, "temperature": 100.0}
    begun = oracle.write(network, FEW.symbols, **whole).text[:resumed_at]
    for text in ("", begun):
        asked = {**whole, "stop": stop, "text": text}
        answer = oracle.write(network, FEW.symbols, **asked)
        check(generate(step, FEW, request_of(asked)), answer)


def test_a_stop_string_ends_a_text_wherever_it_is_resumed(
    engine: Engine, network: oracle.Network
) -> None:
    """In front of the stop string, at each of its characters, and after it."""
    whole: Asked = {"prompt": "The ", "length": 40, "seed": 3, "temperature": 0.8}
    free = oracle.write(network, SYMBOLS, **whole).text
    stopped = {**whole, "stop": (free[20:25], "never written")}
    for at in range(17, 28):
        asked = {**stopped, "text": free[:at]}
        answer = oracle.write(network, SYMBOLS, **asked)
        assert (answer.text, answer.reason) == (free[:20], "stop")
        check(engine.submit(request_of(asked)), answer)
