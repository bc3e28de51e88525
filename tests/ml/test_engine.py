"""The engine under load gives, to the byte, the text that a stream has alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml.engine.engine import Engine, FinishReason, Request, Stream
from ml.engine.offline import generate
from ml.engine.step import OnnxStep
from ml.sampling import Sampling
from ml.versions.load import start_engine
from ml.versions.version import Version
from ml.vocabulary import normalize
from tests.ml.conftest import SYMBOLS
from tests.ml.streams import SECONDS, MakeEngine, finished

samplings = st.builds(
    Sampling,
    length=st.integers(1, 60),
    seed=st.one_of(st.sampled_from([0, 2**64 - 1]), st.integers(0, 2**64 - 1)),
    temperature=st.sampled_from([0.0, 5e-324, 1e-6, 0.5, 0.8, 1.0, 1.3, 100.0]),
    top_k=st.sampled_from([None, 1, 3, 10, 300]),
    top_p=st.sampled_from([None, 1e-9, 0.5, 0.9, 1.0]),
    stop=st.lists(st.text(alphabet="aeth \n", min_size=1, max_size=3), max_size=3).map(tuple),
)
requests = st.builds(
    Request,
    prompt=st.text(alphabet=SYMBOLS + "\u201c\u2603\u00e9", max_size=30),
    sampling=samplings,
)


def outcome(stream: Stream) -> tuple[str, list[float], FinishReason | None]:
    return stream.text, stream.surprisal, stream.reason


Engines = dict[tuple[int, int], Engine]


@pytest.fixture(scope="module")
def engines(version: Version) -> Iterator[Engines]:
    """Engines by rows and threads."""
    made = {
        (rows, threads): start_engine(version, max_streams=rows, threads=threads)
        for rows in (1, 5, 64)
        for threads in (1, 2)
    }
    yield made
    for engine in made.values():
        engine.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch=st.lists(requests, min_size=1, max_size=64),
    rows=st.sampled_from([1, 5, 64]),
    threads=st.sampled_from([1, 2]),
    order=st.randoms(use_true_random=False),
)
def test_text_is_a_function_of_the_request(
    engines: Engines,
    step: OnnxStep,
    version: Version,
    batch: list[Request],
    rows: int,
    threads: int,
    order: random.Random,
) -> None:
    expected = [outcome(generate(step, version.vocabulary, request)) for request in batch]
    arrival = list(range(len(batch)))
    order.shuffle(arrival)
    streams: dict[int, Stream] = {}
    for index in arrival:
        streams[index] = engines[rows, threads].submit(batch[index])
        if order.random() < 0.1:
            streams[index].wait(SECONDS)  # so that some arrive when others are far on, or gone
    finished(list(streams.values()))
    assert [outcome(streams[index]) for index in range(len(batch))] == expected


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    request_=requests,
    offsets=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    threads=st.sampled_from([1, 2]),
)
def test_a_resumed_text_is_the_text(
    engines: Engines,
    step: OnnxStep,
    version: Version,
    request_: Request,
    offsets: list[int],
    threads: int,
) -> None:
    whole = generate(step, version.vocabulary, request_)
    parts = [whole.text[: min(offset, len(whole.text))] for offset in offsets]
    streams = finished(
        [engines[64, threads].submit(replace(request_, text=part)) for part in parts]
    )
    for part, stream in zip(parts, streams, strict=True):
        assert (stream.text, stream.reason) == (whole.text, whole.reason)
        assert stream.surprisal == whole.surprisal[len(part) :]


def test_interrupted_streams_go_on_where_they_were(
    make_engine: MakeEngine, step: OnnxStep, version: Version
) -> None:
    """Five engines, one after another, are drained wherever they are; the sixth may finish."""
    requests_ = [
        Request("The ", Sampling(length=1_500, seed=seed, stop=("xyzzy", "the quick")))
        for seed in range(8)
    ]
    expected = [generate(step, version.vocabulary, request).text for request in requests_]
    for round_ in range(6):
        engine = make_engine()
        streams = [engine.submit(request) for request in requests_]
        if round_ < 5:
            while not any(
                stream.finished.is_set() or stream.text != stream.request.text for stream in streams
            ):
                streams[0].wait(0.001)
            engine.drain()
        finished(streams)
        assert {stream.reason for stream in streams} <= {
            FinishReason.DRAINED,
            FinishReason.LENGTH,
            FinishReason.STOP,
        }
        for stream, text in zip(streams, expected, strict=True):
            assert text.startswith(stream.text)
        requests_ = [replace(stream.request, text=stream.text) for stream in streams]
    assert [stream.text for stream in streams] == expected


def test_chunks_join_to_the_text(make_engine: MakeEngine) -> None:
    stream = make_engine().submit(
        Request("The ", Sampling(length=2_000, seed=3, stop=("qqq",)), text="")
    )
    text, bits = "", []
    while True:
        # Asked first: a chunk that comes in between is taken in the next round.
        done = stream.finished.is_set()
        while chunk := stream.take():
            assert chunk.offset == len(text)
            assert len(chunk.surprisal) == len(chunk.text)
            text += chunk.text
            bits += chunk.surprisal
        if done:
            break
    assert (text, bits) == (stream.text, stream.surprisal)
    assert stream.first_character_at is not None
    assert stream.finished_at is not None
    assert stream.submitted_at <= stream.first_character_at <= stream.finished_at


def test_streams_beyond_the_rows_wait_in_order(make_engine: MakeEngine) -> None:
    engine = make_engine(max_streams=1)
    streams = finished(
        [engine.submit(Request("", Sampling(length=50, seed=seed))) for seed in range(5)]
    )
    ends = [stream.finished_at for stream in streams]
    assert ends == sorted(ends)  # type: ignore[type-var]
    assert engine.active == 0


def test_an_engine_has_as_many_rows_as_it_is_asked_for(
    make_engine: MakeEngine, step: OnnxStep, version: Version
) -> None:
    """The site has the one limit on their number."""
    request = Request("The ", Sampling(length=20, seed=1, top_p=0.9))
    engine = make_engine(max_streams=5_000)
    streams = finished([engine.submit(request) for _ in range(3)])
    assert {stream.text for stream in streams} == {generate(step, version.vocabulary, request).text}


def test_an_empty_prompt_begins_a_new_line(make_engine: MakeEngine) -> None:
    engine = make_engine()
    first = engine.submit(Request("", Sampling(length=1, seed=0, temperature=0.0)))
    first.wait(SECONDS)
    likeliest = SYMBOLS[1 + int(engine.distribution("", 0)[1:].argmax())]
    assert first.text == likeliest


def test_score_is_the_mean_of_the_distributions(make_engine: MakeEngine, version: Version) -> None:
    engine = make_engine()
    text = "The \u2018cat\u2019 sat \u2603."
    ids = version.vocabulary.encode(normalize(text))
    nats = [-np.log(engine.distribution(text, at)[index]) for at, index in enumerate(ids)]
    assert engine.score(text) == pytest.approx(np.mean(nats), rel=1e-12)
    assert engine.distribution(text, len(ids)).sum() == pytest.approx(1)


def test_surprisal_agrees_with_the_distribution(make_engine: MakeEngine) -> None:
    engine = make_engine()
    stream = engine.submit(Request("The ", Sampling(length=20, seed=4, temperature=0.7)))
    stream.wait(SECONDS)
    for at, bits in enumerate(stream.surprisal):
        known = engine.distribution("The " + stream.text, 4 + at)
        known[0] = 0
        probability = known[SYMBOLS.index(stream.text[at])] / known.sum()
        assert bits == pytest.approx(-np.log2(probability), abs=0.001)


def test_score_and_distribution_refuse_text_that_does_not_exist(make_engine: MakeEngine) -> None:
    engine = make_engine()
    with pytest.raises(ValueError, match="no text"):
        engine.score("")
    for at in (-1, 4):
        with pytest.raises(ValueError, match="position"):
            engine.distribution("abc", at)


def test_scoring_does_not_disturb_streams(
    make_engine: MakeEngine, step: OnnxStep, version: Version
) -> None:
    engine = make_engine()
    stream = engine.submit(Request("The ", Sampling(length=3_000, seed=9)))
    scores = {engine.score("The cat sat on the mat.") for _ in range(20)}
    assert len(scores) == 1
    stream.wait(SECONDS)
    assert stream.text == generate(step, version.vocabulary, stream.request).text


def test_the_torch_step_serves(version: Version) -> None:
    engine = start_engine(version, max_streams=4, threads=1, step="torch")
    try:
        streams = finished(
            [engine.submit(Request("The ", Sampling(length=50, seed=seed))) for seed in range(3)]
        )
        assert [len(stream.text) for stream in streams] == [50, 50, 50]
    finally:
        engine.close()


def test_another_step_is_refused(version: Version) -> None:
    with pytest.raises(ValueError, match="jax"):
        start_engine(version, step="jax")
