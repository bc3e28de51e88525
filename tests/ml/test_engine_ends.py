"""How streams end before their length: cancelled, late, drained, or by an error."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from ml.engine.engine import FinishReason, Request, Stream
from ml.engine.offline import generate
from ml.engine.step import OnnxStep
from ml.sampling import Sampling
from ml.versions.version import Version
from tests.ml.streams import LONG, SECONDS, MakeEngine, finished, resampled


def wait_for_text(stream: Stream) -> None:
    while not stream.text:
        assert not stream.wait(0.001)


def test_cancel_ends_one_stream_and_not_its_neighbours(
    make_engine: MakeEngine, step: OnnxStep, version: Version
) -> None:
    engine = make_engine()
    other = engine.submit(Request("It was ", Sampling(length=1_000, seed=5)))
    stream = engine.submit(LONG)
    wait_for_text(stream)
    stream.cancel()
    stream.cancel()
    assert stream.wait(SECONDS)
    text = stream.text
    assert stream.reason == FinishReason.CANCELLED
    assert other.wait(SECONDS)
    assert stream.text == text
    assert other.text == generate(step, version.vocabulary, other.request).text
    assert generate(step, version.vocabulary, resampled(LONG, length=len(text))).text == text


def test_a_waiting_stream_can_be_cancelled(make_engine: MakeEngine) -> None:
    engine = make_engine(max_streams=1)
    running, waiting = engine.submit(LONG), engine.submit(LONG)
    waiting.cancel()
    assert waiting.wait(SECONDS)
    assert (waiting.reason, waiting.text) == (FinishReason.CANCELLED, "")
    assert not running.finished.is_set()


def test_cancel_after_the_end_changes_nothing(make_engine: MakeEngine) -> None:
    stream = make_engine().submit(Request("", Sampling(length=5, seed=1)))
    stream.wait(SECONDS)
    stream.cancel()
    assert stream.reason == FinishReason.LENGTH


def test_deadlines_of_running_and_waiting_streams(make_engine: MakeEngine) -> None:
    engine = make_engine(max_streams=1)
    running = engine.submit(replace(LONG, deadline=0.2))
    waiting = engine.submit(replace(LONG, deadline=0.0))
    finished([running, waiting])
    assert running.reason == waiting.reason == FinishReason.DEADLINE
    assert not waiting.text


def test_drain_ends_all_streams_and_those_that_come_later(make_engine: MakeEngine) -> None:
    engine = make_engine(max_streams=2)
    streams = [engine.submit(resampled(LONG, seed=seed)) for seed in range(4)]
    wait_for_text(streams[0])
    engine.drain()
    finished([*streams, engine.submit(LONG)])
    assert {stream.reason for stream in streams} == {FinishReason.DRAINED}
    engine.close()
    assert engine.submit(LONG).reason == FinishReason.DRAINED
    assert not engine.alive


def test_an_error_in_one_stream_does_not_end_the_others(
    make_engine: MakeEngine, step: OnnxStep, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    bad, good = engine.submit(LONG), engine.submit(Request("It was ", Sampling(length=500, seed=5)))

    def fail(character: str, distance: float, total: float) -> None:
        raise RuntimeError("out of ink")

    monkeypatch.setattr(bad, "append", fail)
    finished([bad, good])
    assert (bad.reason, bad.error) == (FinishReason.ERROR, "out of ink")
    assert good.text == generate(step, version.vocabulary, good.request).text
    assert engine.alive


def test_when_the_thread_dies_all_streams_fail_and_on_death_is_called(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()
    engine = make_engine(max_streams=1, on_death=lambda error: told.set())
    streams = [engine.submit(LONG), engine.submit(LONG)]
    wait_for_text(streams[0])

    def fail(start: int, stop: int) -> None:
        raise MemoryError("no memory for a step")

    monkeypatch.setattr(engine._step, "run", fail)
    finished(streams)
    assert told.wait(SECONDS)
    assert {stream.reason for stream in streams} == {FinishReason.ERROR}
    assert "no memory for a step" in str(streams[0].error)
    assert not engine.alive
    assert engine.submit(LONG).reason == FinishReason.ERROR
