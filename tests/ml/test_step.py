"""Bits that must not depend on the batch, on the row or on the number of threads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from ml.config import ModelConfig
from ml.engine.step import OnnxStep, StepError
from ml.engine.torch_step import TorchStep
from ml.versions.graph import build_fp32_graph, build_int8_graph
from tests.ml.conftest import MODEL, random_weights

SIZES = (1, 2, 3, 5, 17, 64)
WIDE = ModelConfig(
    vocab_size=93, hidden_size=512, num_layers=2
)  # what serves: wide enough to be split over threads
ODD = ModelConfig(vocab_size=31, hidden_size=37, num_layers=2)  # no multiple of any vector's length


def run(step: OnnxStep, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Feed ids (T, n) to rows 0 … n-1 and return logits (T, n, V)."""
    logits = []
    for characters in ids:
        step.ids[: len(characters)] = characters
        logits.append(step.run(0, len(characters)).copy())
    return np.stack(logits)


@pytest.mark.parametrize("model", [WIDE, ODD], ids=["2x512", "2x37"])
def test_logits_are_equal_bit_by_bit_for_every_batch_size_and_thread_count(
    model: ModelConfig,
) -> None:
    graph = build_int8_graph(model, random_weights(model))
    ids = np.random.default_rng(0).integers(0, model.vocab_size, (6, 64))
    expected = run(OnnxStep(graph, model, rows=64, threads=1), ids)
    for threads in (1, 2):
        step = OnnxStep(graph, model, rows=64, threads=threads)
        for size in SIZES:
            fork = step.fork(size)
            assert np.array_equal(run(fork, ids[:, -size:]), expected[:, -size:]), (threads, size)


def test_states_written_in_place_are_those_written_elsewhere() -> None:
    graph = build_int8_graph(ODD, random_weights(ODD))
    step = OnnxStep(graph, ODD, rows=5, threads=1)
    feeds = {name: state.copy() for name, state in step._states.items()}
    for characters in np.random.default_rng(0).integers(0, ODD.vocab_size, (8, 5)):
        names = [f"next_{name}" for name in feeds]
        outputs = step._sessions[0].run(
            ["logits", *names], feeds | {"ids": characters.astype(np.int32)}
        )
        step.ids[:] = characters
        assert np.array_equal(step.run(0, 5), outputs[0])
        feeds = dict(zip(feeds, outputs[1:], strict=True))


def make_steps() -> list[OnnxStep | TorchStep]:
    weights = random_weights(MODEL)
    return [
        OnnxStep(build_int8_graph(MODEL, weights), MODEL, rows=4, threads=1),
        TorchStep(MODEL, weights, rows=4, threads=1, device="cpu"),
    ]


@pytest.mark.parametrize("step", make_steps(), ids=["onnx", "torch"])
def test_rows_can_be_run_in_part_swapped_and_reset(step: OnnxStep | TorchStep) -> None:
    step.ids[:] = [3, 4, 5, 3]
    step.run(0, 4)
    fresh = step.run(3, 4).copy()  # row 3 has read its 3 twice now
    step.swap(0, 3)
    step.ids[:] = 3
    again = step.run(3, 4).copy()  # the former row 0, which has read it once, reads it again
    np.testing.assert_allclose(again, fresh, atol=1e-5)
    step.reset(1)
    step.run(1, 2)
    np.testing.assert_allclose(step.run(1, 2), fresh, atol=1e-5)


@pytest.mark.parametrize("step", make_steps(), ids=["onnx", "torch"])
def test_a_fork_has_states_of_its_own(step: OnnxStep | TorchStep) -> None:
    step.ids[0] = 3
    first = step.run(0, 1).copy()
    fork = step.fork(1)
    fork.ids[0] = 3
    np.testing.assert_allclose(fork.run(0, 1), first, atol=1e-6)


def test_a_graph_of_another_vocabulary_is_refused() -> None:
    other = ModelConfig(vocab_size=MODEL.vocab_size + 1, hidden_size=MODEL.hidden_size)
    with pytest.raises(StepError, match="logits"):
        OnnxStep(build_int8_graph(other, random_weights(other)), MODEL, rows=1, threads=1)


def test_a_graph_of_another_width_or_depth_is_refused() -> None:
    graph = build_fp32_graph(MODEL, random_weights(MODEL))
    for other in (
        ModelConfig(MODEL.vocab_size, 32),
        ModelConfig(MODEL.vocab_size, MODEL.hidden_size, 1),
    ):
        with pytest.raises(StepError, match="graph"):
            OnnxStep(graph, other, rows=1, threads=1)


def test_what_is_no_graph_is_refused() -> None:
    with pytest.raises(StepError, match="cannot be loaded"):
        OnnxStep(b"not a graph", MODEL, rows=1, threads=1)
