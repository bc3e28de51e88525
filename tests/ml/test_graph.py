"""The step graphs against numpy in int64 and torch in float32."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from ml.config import HIDDEN_ZERO, ModelConfig
from ml.engine.step import OnnxStep
from ml.engine.torch_step import TorchStep
from ml.training.model import CharRNN
from ml.versions.graph import (
    WEIGHT_LIMIT,
    build_fp32_graph,
    build_int8_graph,
    quantize_columns,
)
from tests.ml.conftest import MODEL, random_weights

MODELS = [
    MODEL,
    ModelConfig(vocab_size=7, hidden_size=17, num_layers=1),
    ModelConfig(vocab_size=11, hidden_size=8, num_layers=3),
]


def torch_model(model: ModelConfig, weights: dict[str, npt.NDArray[np.float32]]) -> CharRNN:
    torch.set_num_threads(1)
    reference = CharRNN(model).eval()
    reference.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in weights.items()})
    return reference


def random_ids(model: ModelConfig, length: int, lanes: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(5).integers(0, model.vocab_size, (length, lanes))


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_the_fp32_graph_and_the_torch_step_give_the_logits_of_the_trained_model(
    model: ModelConfig,
) -> None:
    weights = random_weights(model)
    ids = random_ids(model, 25, 3)
    with torch.no_grad():
        expected = torch_model(model, weights)(torch.from_numpy(ids))[0].numpy()  # (T, B, V)
    onnx_step = OnnxStep(build_fp32_graph(model, weights), model, rows=3, threads=1)
    torch_step = TorchStep(model, weights, rows=3, threads=1, device="cpu")
    for at, characters in enumerate(ids):
        for step in (onnx_step, torch_step):
            step.ids[:] = characters
            np.testing.assert_allclose(step.run(0, 3), expected[at], atol=1e-4, rtol=0)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_the_int8_graph_stays_close_to_the_fp32_graph(model: ModelConfig) -> None:
    weights = random_weights(model)
    steps = [
        OnnxStep(build(model, weights), model, rows=4, threads=1)
        for build in (build_fp32_graph, build_int8_graph)
    ]
    differences, spread = [], []
    for characters in random_ids(model, 40, 4):
        for step in steps:
            step.ids[:] = characters
        fp32, int8 = (step.run(0, 4) for step in steps)
        differences.append(np.abs(fp32 - int8).mean())
        spread.append(fp32.std())
    assert np.mean(differences) < 0.1 * np.mean(spread)


def test_the_sums_are_those_of_int64_even_at_the_extremes() -> None:
    """All activations are 0 or 255 and all weights ±63: any saturation in int16 would show."""
    generator = np.random.default_rng(0)
    for rows, depth, columns in ((1, 1024, 64), (3, 512, 93), (64, 1024, 48), (5, 17, 5)):
        activations = generator.choice(np.array([0, 255], np.uint8), (rows, depth))
        weights = generator.choice(
            np.array([-WEIGHT_LIMIT, WEIGHT_LIMIT], np.int8), (depth, columns)
        )
        activations[0], weights[:, 0] = 255, WEIGHT_LIMIT
        node = helper.make_node("MatMulInteger", ["x", "w", "zero"], ["y"])
        constants = [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array(HIDDEN_ZERO, np.uint8), "zero"),
        ]
        inputs = [helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", depth])]
        outputs = [helper.make_tensor_value_info("y", TensorProto.INT32, ["n", columns])]
        graph = helper.make_graph([node], "product", inputs, outputs, constants)
        model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        expected = (activations.astype(np.int64) - HIDDEN_ZERO) @ weights.astype(np.int64)
        assert np.array_equal(session.run(None, {"x": activations})[0], expected)


def test_every_integer_product_of_the_graph_equals_int64(tmp_path: object) -> None:
    proto = onnx.load_from_string(build_int8_graph(MODEL, random_weights(MODEL)))
    products = [node for node in proto.graph.node if node.op_type == "MatMulInteger"]
    assert len(products) == MODEL.num_layers + 1
    for node in products:
        proto.graph.output.append(
            helper.make_tensor_value_info(node.output[0], TensorProto.INT32, None)
        )
        if node.input[0] not in {value.name for value in [*proto.graph.input, *proto.graph.output]}:
            proto.graph.output.append(
                helper.make_tensor_value_info(node.input[0], TensorProto.UINT8, None)
            )
    constants = {
        constant.name: numpy_helper.to_array(constant) for constant in proto.graph.initializer
    }
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    generator = np.random.default_rng(1)
    shape = (9, MODEL.hidden_size)
    feeds = {"ids": generator.integers(0, MODEL.vocab_size, 9).astype(np.int32)}
    for layer in range(MODEL.num_layers):
        feeds[f"hidden_{layer}"] = generator.integers(1, 256, shape).astype(np.uint8)
        feeds[f"cell_{layer}"] = generator.normal(0, 1, shape).astype(np.float32)
    names = [value.name for value in session.get_outputs()]
    values = dict(zip(names, session.run(names, feeds), strict=True)) | feeds
    for node in products:
        activations = values[node.input[0]].astype(np.int64) - HIDDEN_ZERO
        weights = constants[node.input[1]]
        assert np.abs(weights).max() == WEIGHT_LIMIT
        assert np.array_equal(values[node.output[0]], activations @ weights.astype(np.int64))


@pytest.mark.parametrize("build", [build_int8_graph, build_fp32_graph])
def test_export_gives_the_same_bytes_twice(build: object) -> None:
    assert callable(build)
    weights = random_weights(MODEL)
    assert build(MODEL, weights) == build(MODEL, dict(reversed(weights.items())))


def test_a_graph_is_a_single_valid_file_of_standard_operators() -> None:
    proto = onnx.load_from_string(build_int8_graph(MODEL, random_weights(MODEL)))
    onnx.checker.check_model(proto, full_check=True)
    assert {node.domain for node in proto.graph.node} == {""}
    assert not any(constant.external_data for constant in proto.graph.initializer)


def test_quantized_columns_are_within_half_a_step() -> None:
    matrix = np.random.default_rng(2).normal(0, 1, (50, 9)).astype(np.float32)
    matrix[:, 3] = 0
    values, scale = quantize_columns(matrix, WEIGHT_LIMIT)
    assert np.abs(values).max() <= WEIGHT_LIMIT
    error = np.abs(values * scale.astype(np.float32) - matrix)
    # Half a step, and a little more because the scale itself is rounded.
    assert (error <= 0.55 * scale.astype(np.float32)).all()
