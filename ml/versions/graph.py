"""Weights to ONNX step graphs: one step of the model for a batch of streams.

A step takes a character of each stream and returns the logits of the next. `build_int8_graph` makes
the graph that serves, `build_fp32_graph` the one it is compared with. The same weights give the
same bytes.

Graph interface, for n streams: inputs `ids` (n,) int32, and for each layer `hidden_<l>` and
`cell_<l>` (n, H); outputs `logits` (n, V) and `next_hidden_<l>`, `next_cell_<l>`. Every node that
reads a state is an ancestor of the node that writes the next one, so a runtime which executes nodes
in order may write the new state over the old.

The int8 graph keeps the hidden state as uint8. |h| < 1 in an LSTM, so the scale 1/127 with zero
point 128 fits without calibration; being constant, it does not depend on what else is in the batch.
Weights are int8 per output channel within ±63: without VNNI, a CPU adds pairs of uint8·int8
products in saturating int16. 255·63·2 fits and 255·127·2 does not, so that with this limit the
integer sums are exact everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from ml.config import HIDDEN_ZERO, ModelConfig
from ml.versions.errors import VersionError
from ml.versions.version import Version, read_step_graph
from ml.versions.weights import read_weights

OPSET = 17
IR_VERSION = 8
HIDDEN_SCALE = np.float32(1 / 127)
WEIGHT_LIMIT = 63
TABLE_LIMIT = 127  # rows of the input table are gathered, never multiplied: no sum to saturate
_SMALLEST_SCALE = 2.0**-14  # smallest normal float16

Array = npt.NDArray[np.float32]
Weights = Mapping[str, Array]


def quantize_columns(
    matrix: Array, limit: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    """Return int8 values (K, N) within ±limit and float16 scales (N,) for `matrix`.

    values * scale is close to `matrix`.
    """
    largest = np.abs(matrix).max(axis=0)
    scale = np.maximum(largest / limit, _SMALLEST_SCALE).astype(np.float16)
    values = np.rint(matrix / scale.astype(np.float32))
    return np.clip(values, -limit, limit).astype(np.int8), scale


def build_int8_graph(model: ModelConfig, weights: Weights) -> bytes:
    """Return the serialised step graph with int8 weights; `weights` are by torch's names."""
    graph = _Graph(model)
    table, bias = _input_table(model, weights)
    graph.gather(graph.dequantized("table", *quantize_columns(table, TABLE_LIMIT), bias))
    for layer in range(model.num_layers):
        graph.quantized_product(
            f"layer_{layer}", _recurrent(model, weights, layer), *_bias(model, weights, layer)
        )
        graph.cell_update(layer, quantized=True)
    graph.quantized_product("linear", weights["linear.weight"].T, weights["linear.bias"])
    return graph.serialized(TensorProto.UINT8)


def build_fp32_graph(model: ModelConfig, weights: Weights) -> bytes:
    """Return the serialised step graph in single precision.

    Its interface is the same, but the hidden state is float32.
    """
    graph = _Graph(model)
    table, bias = _input_table(model, weights)
    graph.gather(graph.constant("table", table + bias))
    for layer in range(model.num_layers):
        graph.product(
            f"layer_{layer}", _recurrent(model, weights, layer), *_bias(model, weights, layer)
        )
        graph.cell_update(layer, quantized=False)
    graph.product("linear", weights["linear.weight"].T, weights["linear.bias"])
    return graph.serialized(TensorProto.FLOAT)


def check_step_graph(version: Version) -> None:
    """Raise VersionError unless step.onnx is, byte for byte, the graph made here of the weights.

    A graph is a program: one made elsewhere could read files of this machine into a text, or take
    all of its memory. This check runs once, where a version comes in. onnx is not on the serving
    path, which relies on the hash from then on.
    """
    if read_step_graph(version) != build_int8_graph(version.model, read_weights(version)):
        raise VersionError(
            "step.onnx is not the graph that this release makes of weights.safetensors; "
            "export it again"
        )


def _gates(model: ModelConfig, rows: Array) -> Array:
    """Return gate rows in the order input, forget, output, cell.

    torch's order is input, forget, cell, output. Here the three sigmoid gates lie side by side.
    """
    i, f, g, o = np.split(rows, 4)
    return np.ascontiguousarray(np.concatenate([i, f, o, g]))


def _input_table(model: ModelConfig, weights: Weights) -> tuple[Array, Array]:
    """Return what layer 0 adds to its gates for each symbol (V, 4H), and its bias (4H,)."""
    table = _gates(model, weights["lstm.weight_ih_l0"]).T
    return np.ascontiguousarray(table), _both_biases(model, weights, 0)


def _both_biases(model: ModelConfig, weights: Weights, layer: int) -> Array:
    return _gates(model, weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"])


def _bias(model: ModelConfig, weights: Weights, layer: int) -> tuple[Array, ...]:
    """Return the bias as a 1-tuple, or nothing for layer 0, which has it in the table."""
    return (_both_biases(model, weights, layer),) if layer else ()


def _recurrent(model: ModelConfig, weights: Weights, layer: int) -> Array:
    """Return the matrix (K, 4H) of a layer.

    K = H for layer 0, else 2H: the hidden state of the layer below, then the layer's own.
    """
    own = _gates(model, weights[f"lstm.weight_hh_l{layer}"])
    if layer == 0:
        return own.T
    return np.concatenate([_gates(model, weights[f"lstm.weight_ih_l{layer}"]), own], axis=1).T


class _Graph:
    """Collects nodes and constants; `self._value` names the value that the next part reads."""

    def __init__(self, model: ModelConfig) -> None:
        self._model = model
        self._nodes: list[Any] = []
        self._constants: dict[str, npt.NDArray[np.generic]] = {}
        self._value = ""
        self.constant("hidden_scale", np.array(HIDDEN_SCALE))
        self.constant("hidden_zero", np.array(HIDDEN_ZERO, np.uint8))
        self.constant("sigmoid_and_tanh", np.array([3 * model.hidden_size, model.hidden_size]))
        self.constant("sigmoid_gates", np.array([model.hidden_size] * 3))

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self._constants[name] = np.ascontiguousarray(value)
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        return self.nodes(op, inputs, [output], **attributes)[0]

    def nodes(self, op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> list[str]:
        self._nodes.append(
            helper.make_node(op, inputs, outputs, name=f"{op}_{outputs[0]}", **attributes)
        )
        return outputs

    def dequantized(
        self, name: str, values: npt.NDArray[np.int8], scale: npt.NDArray[np.float16], bias: Array
    ) -> str:
        """Add values * scale + bias. The runtime computes it once, when it loads the graph."""
        integers = self.node(
            "Cast", [self.constant(f"{name}_values", values)], f"{name}_f", to=TensorProto.FLOAT
        )
        scaled = self.node("Mul", [integers, self._half(f"{name}_scale", scale)], f"{name}_scaled")
        return self.node("Add", [scaled, self._half(f"{name}_bias", bias)], name)

    def _half(self, name: str, value: npt.NDArray[Any]) -> str:
        half = self.constant(f"{name}_half", value.astype(np.float16))
        return self.node("Cast", [half], name, to=TensorProto.FLOAT)

    def gather(self, table: str) -> None:
        """Start with the table's row of each stream's character: what a one-hot product gives."""
        self._gathered = self.node("Gather", [table, "ids"], "input_gates")

    def _layer_input(self, name: str) -> str:
        """Return the value that a layer, or the linear layer, multiplies."""
        if name == "linear":
            return f"next_hidden_{self._model.num_layers - 1}"
        layer = int(name.removeprefix("layer_"))
        if layer == 0:
            return "hidden_0"
        return self.node(
            "Concat", [f"next_hidden_{layer - 1}", f"hidden_{layer}"], f"{name}_input", axis=1
        )

    def quantized_product(self, name: str, matrix: Array, bias: Array | None = None) -> None:
        """Multiply the layer's input by `matrix` (K, N) with sums in int32.

        Then add the bias, or the gathered row where there is none.
        """
        values, scale = quantize_columns(matrix, WEIGHT_LIMIT)
        weight = self.constant(f"{name}_weight", values)
        sums = self.node(
            "MatMulInteger", [self._layer_input(name), weight, "hidden_zero"], f"{name}_sums"
        )
        floats = self.node("Cast", [sums], f"{name}_floats", to=TensorProto.FLOAT)
        factor = self.node(
            "Mul", [self._half(f"{name}_scale", scale), "hidden_scale"], f"{name}_factor"
        )
        self._add(name, self.node("Mul", [floats, factor], f"{name}_product"), bias, half=True)

    def product(self, name: str, matrix: Array, bias: Array | None = None) -> None:
        """Do as `quantized_product` does, in float32."""
        weight = self.constant(f"{name}_weight", matrix)
        self._add(
            name,
            self.node("MatMul", [self._layer_input(name), weight], f"{name}_product"),
            bias,
            half=False,
        )

    def _add(self, name: str, product: str, bias: Array | None, *, half: bool) -> None:
        if bias is None:
            addend = self._gathered
        else:
            addend = (
                self._half(f"{name}_bias", bias) if half else self.constant(f"{name}_bias", bias)
            )
        output = "logits" if name == "linear" else f"{name}_gates"
        self._value = self.node("Add", [product, addend], output)

    def cell_update(self, layer: int, *, quantized: bool) -> None:
        """c' = f·c + i·g and h' = o·tanh(c'), gates and cell in float32."""
        logistic, candidate = self.nodes(
            "Split", [self._value, "sigmoid_and_tanh"], [f"z_{layer}", f"zg_{layer}"], axis=1
        )
        gates = self.node("Sigmoid", [logistic], f"gates_{layer}")
        i, f, o = self.nodes(
            "Split", [gates, "sigmoid_gates"], [f"{gate}_{layer}" for gate in "ifo"], axis=1
        )
        g = self.node("Tanh", [candidate], f"g_{layer}")
        kept = self.node("Mul", [f, f"cell_{layer}"], f"kept_{layer}")
        new = self.node("Mul", [i, g], f"new_{layer}")
        cell = self.node("Add", [kept, new], f"next_cell_{layer}")
        squashed = self.node("Tanh", [cell], f"squashed_{layer}")
        if not quantized:
            self.node("Mul", [o, squashed], f"next_hidden_{layer}")
            return
        hidden = self.node("Mul", [o, squashed], f"float_hidden_{layer}")
        self.node("QuantizeLinear", [hidden, "hidden_scale", "hidden_zero"], f"next_hidden_{layer}")

    def serialized(self, hidden_type: int) -> bytes:
        """Return the graph's bytes. Constants that no node reads are left out."""
        model = self._model
        used = {name for node in self._nodes for name in node.input}
        parts = (("hidden", hidden_type), ("cell", TensorProto.FLOAT))
        state = [
            (f"{part}_{layer}", type_) for layer in range(model.num_layers) for part, type_ in parts
        ]
        inputs = [helper.make_tensor_value_info("ids", TensorProto.INT32, ["n"])]
        outputs = [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", model.vocab_size])
        ]
        for name, type_ in state:
            inputs.append(helper.make_tensor_value_info(name, type_, ["n", model.hidden_size]))
            outputs.append(
                helper.make_tensor_value_info(f"next_{name}", type_, ["n", model.hidden_size])
            )
        constants = [
            numpy_helper.from_array(value, name)
            for name, value in self._constants.items()
            if name in used
        ]
        graph = helper.make_graph(self._nodes, "step", inputs, outputs, constants)
        proto = helper.make_model(
            graph,
            ir_version=IR_VERSION,
            producer_name="charrnn",
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        return bytes(proto.SerializeToString(deterministic=True))
