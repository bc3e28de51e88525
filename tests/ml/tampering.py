"""Ways to change the folder of a version, as somebody could who can write to the registry.

Sizes and hashes in model.json are kept true wherever a change is not about them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

Tamper = Callable[[Path], object]
GRAPH = "step.onnx"
WEIGHTS = "weights.safetensors"


def edit_meta(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    meta = json.loads((folder / "model.json").read_text())
    change(meta)
    (folder / "model.json").write_text(json.dumps(meta))


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Replace a file and describe the new one truthfully, as an attacker would."""
    (folder / name).write_bytes(content)
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit_meta(folder, lambda meta: meta["files"].update({name: entry}))


def replace_weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / "new")
    content = (folder / "new").read_bytes()
    (folder / "new").unlink()
    replace_file(folder, WEIGHTS, content)


def one_more_file(to: str) -> Tamper:
    """Name a further file in model.json, with a hash that would fit."""
    return lambda folder: edit_meta(
        folder, lambda meta: meta["files"].update({to: meta["files"][GRAPH]})
    )


def architecture(**changes: Any) -> Tamper:
    return lambda folder: edit_meta(folder, lambda meta: meta["architecture"].update(changes))


def vocabulary(symbols: Any) -> Tamper:
    return lambda folder: edit_meta(folder, lambda meta: meta.update(vocabulary=symbols))


def title(text: str) -> Tamper:
    return lambda folder: edit_meta(folder, lambda meta: meta.update(title=text))


def replace_text(folder: Path, old: str, new: str) -> None:
    before = (folder / "model.json").read_text()
    assert old in before
    (folder / "model.json").write_text(before.replace(old, new))


def weights(content: bytes) -> Tamper:
    return lambda folder: replace_file(folder, WEIGHTS, content)


def header(*tensors: tuple[int, int, int]) -> bytes:
    """A safetensors file with 16 bytes of data and these tensors: elements, begin, end."""
    entries = {
        f"t{index}": {"dtype": "F16", "shape": [elements], "data_offsets": [begin, end]}
        for index, (elements, begin, end) in enumerate(tensors)
    }
    raw = json.dumps(entries).encode()
    return len(raw).to_bytes(8, "little") + raw + bytes(16)


def overlap_in_place(folder: Path) -> None:
    """Let two tensors of the right names and shapes share their bytes."""
    raw = (folder / WEIGHTS).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    entries = json.loads(raw[8 : 8 + size])
    entries["lstm.bias_hh_l0"]["data_offsets"] = entries["lstm.bias_ih_l0"]["data_offsets"]
    changed = json.dumps(entries).encode()
    replace_file(folder, WEIGHTS, len(changed).to_bytes(8, "little") + changed + raw[8 + size :])


def files(**contents: str) -> Tamper:
    def add(folder: Path) -> None:
        for name, content in contents.items():
            (folder / name.replace("_dot_", ".")).write_text(content)

    return add


def link(folder: Path) -> None:
    outside = folder.parent / "outside"
    (folder / WEIGHTS).rename(outside)
    (folder / WEIGHTS).symlink_to(outside)


def description(content: bytes) -> Tamper:
    return lambda folder: (folder / "model.json").write_bytes(content)


def huge_file(name: str) -> Tamper:
    def grow(folder: Path) -> None:
        os.truncate(folder / name, 10**10)  # sparse
        if name != "model.json":
            edit_meta(folder, lambda meta: meta["files"][name].update(bytes=10**10))

    return grow


def graph(change: Callable[[Any], object]) -> Tamper:
    """Change the step graph, which keeps its inputs and outputs."""

    def tamper(folder: Path) -> None:
        model = onnx.load_model_from_string((folder / GRAPH).read_bytes())
        change(model)
        replace_file(folder, GRAPH, model.SerializeToString())

    return tamper


def add_to_logits(model: Any, name: str) -> None:
    """Add the largest value of a tensor to the logits."""
    for node in model.graph.node:
        node.output[:] = [
            "honest_logits" if output == "logits" else output for output in node.output
        ]
    model.graph.node.append(helper.make_node("ReduceMax", [name], ["largest"], keepdims=0))
    model.graph.node.append(helper.make_node("Add", ["honest_logits", "largest"], ["logits"]))


def allocate(model: Any) -> None:
    """Make 4 GB of one number."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([10**9], np.int64), "size"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["room"]))
    add_to_logits(model, "room")


def broadcast(model: Any) -> None:
    """Make 3.6 GB of two small vectors."""
    for name, shape in (("column", (30_000, 1)), ("row", (1, 30_000))):
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    model.graph.node.append(helper.make_node("Add", ["column", "row"], ["room"]))
    add_to_logits(model, "room")


def read_file(location: str) -> Callable[[Any], object]:
    def change(model: Any) -> None:
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "hidden_scale")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "4")):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value

    return change
