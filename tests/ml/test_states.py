"""Going on from a kept state gives the text that reading everything gives."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml.engine.engine import Engine, FinishReason, Request, Stream
from ml.engine.offline import generate
from ml.engine.states import INTERVAL, OVERHEAD, STATE_BYTES, States, Trail
from ml.engine.step import Logits, OnnxStep
from ml.engine.torch_step import TorchStep
from ml.sampling import Sampling
from ml.versions.load import load_step
from ml.versions.version import Version
from ml.versions.weights import read_weights
from tests.ml import oracle
from tests.ml.conftest import MODEL, SYMBOLS, random_weights
from tests.ml.streams import SECONDS

STATE = MODEL.num_layers * MODEL.hidden_size * 5  # bytes


class CountingStep(OnnxStep):
    """Counts the characters it reads."""

    read = 0

    def run(self, start: int, stop: int) -> Logits:
        self.read += stop - start
        return super().run(start, stop)


class Counted:
    """An engine, and how much its step reads."""

    def __init__(self, version: Version) -> None:
        step = load_step(version, rows=4, threads=1)
        assert isinstance(step, OnnxStep)
        step.__class__ = CountingStep
        assert isinstance(step, CountingStep)
        self._step = step
        self.engine = Engine(
            step, version.vocabulary, digest=version.digest, states=States(STATE_BYTES)
        )

    def write(self, request: Request) -> tuple[Stream, int]:
        """Return the finished stream, and how many characters were read for its first one."""
        before = self._step.read
        stream = self.engine.submit(request)
        assert stream.wait(SECONDS)
        return stream, self._step.read - before - (len(stream.text) - len(request.text) - 1)


@pytest.fixture
def counted(version: Version) -> Iterator[Counted]:
    counted = Counted(version)
    yield counted
    counted.engine.close()


def finished(engine: Engine, request: Request) -> Stream:
    stream = engine.submit(request)
    assert stream.wait(SECONDS)
    return stream


def asked(prompt: str, length: int = 5, seed: int = 1, text: str = "") -> Request:
    return Request(prompt, Sampling(length=length, seed=seed), text)


LONG = "The cat sat on the mat. " * 40  # 960 characters, so 3 marks


# What is read


def test_a_continuation_reads_only_what_no_stream_has_read(counted: Counted) -> None:
    first, read = counted.write(asked("The ", length=700))
    assert read == len("\nThe ")
    text = "The " + first.text
    assert counted.write(asked(text))[1] == 1, "what follows the end"
    assert counted.write(asked(text, seed=2))[1] == 1, "the same with another seed"
    assert counted.write(asked(text + " And"))[1] == 1 + len(" And"), "after typing"
    mark = 2 * INTERVAL
    assert counted.write(asked(text[: mark + 20]))[1] == 1 + 20, "at a cut behind a mark"
    assert counted.write(asked(text[: mark + 30]))[1] == 1 + 10, "near an earlier cut"
    assert counted.write(asked("the " + first.text))[1] == 1 + len(text), "another beginning"


def test_a_prompt_is_read_once(counted: Counted) -> None:
    assert counted.write(asked(LONG))[1] == 1 + len(LONG)
    assert counted.write(asked(LONG, seed=2))[1] == 1
    changed = LONG[:600] + "!" + LONG[601:]
    assert counted.write(asked(changed))[1] == 1 + len(LONG) - 2 * INTERVAL


def test_a_resumed_text_begins_at_the_kept_state(counted: Counted) -> None:
    whole, _ = counted.write(asked("The ", length=600))
    begun = whole.text[:550]
    resumed, read = counted.write(asked("The ", length=600, text=begun))
    assert (resumed.text, read) == (whole.text, len("\nThe ") + 550 - 2 * INTERVAL)


def test_a_text_that_was_stopped_goes_on_from_where_it_was(
    counted: Counted, step: OnnxStep, version: Version
) -> None:
    stream = counted.engine.submit(asked("The ", length=10_000_000))
    while not stream.text:
        assert not stream.wait(0.001)
    stream.cancel()
    assert stream.wait(SECONDS)
    request = asked("The " + stream.text, seed=3)
    again, read = counted.write(request)
    assert read == 1
    assert again.text == generate(step, version.vocabulary, request).text


def test_unknown_characters_are_one_symbol(counted: Counted) -> None:
    snow, _ = counted.write(asked("The \u2603"))
    acute, read = counted.write(asked("The \u00e9"))
    assert (acute.text, read) == (snow.text, 1)


# The same text


prompts = st.text(alphabet="ab\u2603", min_size=1, max_size=6)


Engines = dict[str, Engine]


@pytest.fixture(scope="module")
def engines(version: Version) -> Iterator[Engines]:
    """Engines that keep everything, a single state, and nothing, with marks at every 4 ids."""
    made = {}
    for name, size in {"all": 10_000_000, "one": STATE + OVERHEAD + 4, "none": 0}.items():
        made[name] = Engine(
            load_step(version, rows=3, threads=1),
            version.vocabulary,
            digest=version.digest,
            states=States(size, interval=4),
        )
    yield made
    for engine in made.values():
        engine.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    beginning=prompts,
    going_on=st.lists(st.tuples(st.integers(0, 40), prompts, st.integers(1, 30)), max_size=6),
)
def test_texts_are_the_same_with_all_states_one_and_none(
    engines: Engines,
    step: OnnxStep,
    version: Version,
    beginning: str,
    going_on: list[tuple[int, str, int]],
) -> None:
    """A manuscript is cut anywhere, typed into and continued, again and again."""
    manuscript = beginning
    for seed, (cut, typed, length) in enumerate(going_on):
        request = asked(manuscript[:cut] + typed, length=length, seed=seed)
        expected = generate(step, version.vocabulary, request)
        for engine in engines.values():
            stream = finished(engine, request)
            assert (stream.text, stream.surprisal) == (expected.text, expected.surprisal)
        manuscript = manuscript[:cut] + typed + expected.text


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.tuples(st.text(alphabet="ab\n", max_size=12), st.integers(1, 12)), min_size=2, max_size=9
    ),
    stop=st.sampled_from([(), ("e",), ("th", "a ")]),
)
def test_streams_at_the_same_time_share_states(
    engines: Engines,
    step: OnnxStep,
    version: Version,
    texts: list[tuple[str, int]],
    stop: tuple[str, ...],
) -> None:
    requests = [
        Request(prompt, Sampling(length=length, seed=length, stop=stop)) for prompt, length in texts
    ]
    expected = [generate(step, version.vocabulary, request).text for request in requests]
    for engine in engines.values():
        streams = [engine.submit(request) for request in requests]
        assert all(stream.wait(SECONDS) for stream in streams)
        assert [stream.text for stream in streams] == expected


def test_the_oracle_agrees_along_a_manuscript(version: Version, counted: Counted) -> None:
    network = oracle.Network(version.model, read_weights(version))
    manuscript = "It was "
    for seed, length in enumerate((300, 40, 260)):
        answer = oracle.write(network, SYMBOLS, prompt=manuscript, length=length, seed=seed)
        stream, read = counted.write(asked(manuscript, length=length, seed=seed))
        assert stream.text == answer.text
        assert read == (1 if seed else len("\nIt was "))
        manuscript += answer.text


def test_a_failed_stream_leaves_no_wrong_state(
    counted: Counted, step: OnnxStep, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = counted.engine.submit(asked("The ", length=10_000_000))
    while not stream.text:
        assert not stream.wait(0.001)

    def fail(character: str, distance: float, total: float) -> None:
        raise RuntimeError("out of ink")

    monkeypatch.setattr(stream, "append", fail)
    assert stream.wait(SECONDS)
    assert stream.reason == FinishReason.ERROR
    for prompt in ("The " + stream.text, "The " + stream.text + "a"):
        request = asked(prompt)
        again, _ = counted.write(request)
        assert again.text == generate(step, version.vocabulary, request).text


# Copies of states


def test_a_state_is_copied_exactly(version: Version) -> None:
    weights = random_weights(MODEL)
    for step in (
        load_step(version, rows=4, threads=1),
        TorchStep(MODEL, weights, rows=4, threads=1, device="cpu"),
    ):
        for ids in np.random.default_rng(0).integers(0, MODEL.vocab_size, (20, 4)):
            step.ids[:] = ids
            step.run(0, 4)
        state = step.save(1)
        assert state not in (step.save(0), step.save(2), step.save(3))
        others = [step.save(row) for row in (0, 1, 2)]
        step.load(3, state)
        assert [step.save(row) for row in range(4)] == [*others, state]


# What is found, and what is kept


def trail(ids: list[int], kind: type = np.uint8, interval: int = INTERVAL) -> Trail:
    return Trail(np.array(ids, kind), interval)


ids = st.lists(st.integers(0, 1), min_size=1, max_size=14)


@settings(max_examples=150)
@given(read=st.lists(ids, max_size=8), wanted=ids, kind=st.sampled_from([np.uint8, np.uint16]))
def test_the_longest_beginning_is_found_and_no_other(
    read: list[list[int]], wanted: list[int], kind: type
) -> None:
    states = States(1_000_000, interval=4)
    for each in read:
        states.keep(trail([*each, 1, 1], kind, 4), len(each), partial(bytes, each))
    fitting = [each for each in read if len(each) < len(wanted) and wanted[: len(each)] == each]
    found = states.longest(trail(wanted, kind, 4))
    if fitting:
        longest = max(fitting, key=len)
        assert found == (len(longest), bytes(longest))
    else:
        assert found is None


@pytest.mark.parametrize("at", [0, 1, INTERVAL - 1, INTERVAL, 2 * INTERVAL + 1, 2 * INTERVAL + 9])
def test_one_other_id_before_a_state_hides_it(at: int) -> None:
    read = [7] * (2 * INTERVAL + 10)
    states = States(1_000_000)
    states.keep(trail(read), len(read), lambda: b"state")
    assert states.longest(trail([*read, 1])) == (len(read), b"state")
    changed = [*read, 1]
    changed[at] = 8
    assert states.longest(trail(changed)) is None


def test_states_stay_within_their_bytes_and_the_least_recently_used_go() -> None:
    limit = 300_000
    state = np.zeros(1_000, np.uint8).tobytes  # makes new bytes in each call
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        states = States(limit)
        used = trail([9, 9, 9])
        states.keep(used, 2, state)
        for number in range(500):
            states.keep(trail([number // 250, number % 250] * INTERVAL), INTERVAL + 9, state)
            assert states.size <= limit
            assert states.longest(used) is not None
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(states) == limit // (1_000 + OVERHEAD + 9)
    assert after - before <= limit
    assert states.longest(trail([0, 0] * INTERVAL)) is None
    assert states.longest(trail([1, 249] * INTERVAL)) is not None


def test_without_bytes_nothing_is_kept() -> None:
    states = States(0)
    states.keep(trail([1, 2, 3]), 2, lambda: b"state")
    assert len(states) == states.size == 0
    small = States(100)
    small.keep(trail([1, 2, 3]), 2, lambda: b"a state larger than all that may be kept" * 9)
    assert len(small) == small.size == 0
