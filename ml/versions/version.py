"""A model version on disk: a folder of plain files, none of which can execute anything.

    model.json           format, architecture, vocabulary, training config, metrics, golden text, size and sha256 of each file
    weights.safetensors  the weights in float16, named as torch names them
    step.onnx            the int8 step graph made of them (ml/versions/graph.py)
    samples.txt          texts at a few temperatures
    metrics.csv          the training run up to here

The digest of a version is the sha256 of model.json, and so of everything. Reading checks before it
trusts: the list of files first, then sizes, then hashes; nothing big is read before that, and
nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ml import strict_json
from ml.config import ModelConfig
from ml.vocabulary import MAX_SYMBOLS, Vocabulary, VocabularyError

FORMAT = "charrnn-version/1"
FILES = ("weights.safetensors", "step.onnx", "samples.txt", "metrics.csv")
MAX_HIDDEN_SIZE = 4096
MAX_LAYERS = 8
MAX_TITLE = 200  # characters, as many as the site's row holds
_MAX_META_BYTES = (
    200_000  # of model.json: parsed, a file of nothing but brackets takes twenty times its size
)
_MAX_TEXT_BYTES = 1_000_000  # of samples.txt and metrics.csv, each
_MAX_GOLDEN = 10_000  # characters: it is generated whenever the version is loaded
_MAX_OVERHEAD = 1_000_000  # of weights.safetensors and step.onnx beyond the weights themselves

Arrays = dict[str, npt.NDArray[np.float32]]


class CheckpointError(Exception):
    """The version must not be used; the message is a sentence that names the check it failed."""


@dataclass(frozen=True, slots=True)
class Golden:
    """A request and the text that the step graph must give for it, on every machine."""

    prompt: str
    seed: int
    length: int
    temperature: float
    text: str


@dataclass(frozen=True, slots=True)
class Version:
    """What model.json says of a version whose files have been checked."""

    folder: Path
    digest: str  # sha256 of model.json, in hexadecimal
    title: str
    model: ModelConfig
    vocabulary: Vocabulary
    training: dict[str, Any]
    metrics: dict[str, Any]
    golden: Golden
    sha256: dict[str, str]  # of each file but model.json


def parameter_shapes(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter of `model`, by torch's name."""
    width = 4 * model.hidden_size
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(model.num_layers):
        inputs = model.hidden_size if layer else model.vocab_size
        shapes[f"lstm.weight_ih_l{layer}"] = (width, inputs)
        shapes[f"lstm.weight_hh_l{layer}"] = (width, model.hidden_size)
        shapes[f"lstm.bias_ih_l{layer}"] = shapes[f"lstm.bias_hh_l{layer}"] = (width,)
    return shapes | {
        "linear.weight": (model.vocab_size, model.hidden_size),
        "linear.bias": (model.vocab_size,),
    }


def read_version(folder: Path) -> Version:
    """Return the version in `folder` after checking its files. Raises CheckpointError."""
    _check_file_list(folder)
    raw = _read_small(folder / "model.json")
    try:
        meta = strict_json.parse(raw)
        version = _parse(folder, hashlib.sha256(raw).hexdigest(), meta)
        entries = {name: (entry["bytes"], entry["sha256"]) for name, entry in meta["files"].items()}
    except CheckpointError:
        raise
    except VocabularyError as error:
        raise CheckpointError(f"model.json: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error)[:200] or type(error).__name__
        raise CheckpointError(f"model.json is not a description of a version: {reason}") from None
    _check_files(folder, version.model, entries)
    return version


def is_complete(folder: Path) -> bool:
    """Tell whether `folder` holds the files of a version, in their sizes. Who reads them checks what is in them."""
    try:
        _check_file_list(folder)
        entries = strict_json.parse(_read_small(folder / "model.json"))["files"]
        return all(
            (folder / name).stat().st_size == entry["bytes"] for name, entry in entries.items()
        )
    except (
        CheckpointError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ):
        return False


def _check_file_list(folder: Path) -> None:
    if not folder.is_dir():
        raise CheckpointError(f"there is no version folder {folder}")
    expected = {*FILES, "model.json"}
    found = {entry.name: entry for entry in os.scandir(folder)}
    if extra := sorted(set(found) - expected):
        raise CheckpointError(
            f"the version folder holds {extra[0]!r}, which is no part of a version"
        )
    if missing := sorted(expected - set(found)):
        raise CheckpointError(f"the version folder has no {missing[0]}")
    for name, entry in found.items():
        if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            raise CheckpointError(f"{name} is not a regular file")


def _read_small(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(_MAX_META_BYTES + 1)
    if len(raw) > _MAX_META_BYTES:
        raise CheckpointError(f"{path.name} is larger than {_MAX_META_BYTES:,} bytes")
    return raw


def _parse(folder: Path, digest: str, meta: Any) -> Version:
    if meta["format"] != FORMAT:
        raise CheckpointError(
            f"model.json has the format {str(meta['format'])[:40]!r}, expected {FORMAT!r}"
        )
    if not isinstance(meta["vocabulary"], str):
        raise CheckpointError("model.json: the vocabulary is not a text of its symbols")
    vocabulary = Vocabulary(meta["vocabulary"])
    model = _parse_model(meta["architecture"], len(vocabulary))
    for name, kind in (("title", str), ("training", dict), ("metrics", dict)):
        if not isinstance(meta[name], kind):
            raise CheckpointError(f"model.json: {name} is not of the type {kind.__name__}")
    if len(meta["title"]) > MAX_TITLE or not meta["title"].isprintable():
        raise CheckpointError(
            f"model.json: the title must be one line of at most {MAX_TITLE} characters"
        )
    return Version(
        folder=folder,
        digest=digest,
        title=meta["title"],
        model=model,
        vocabulary=vocabulary,
        training=meta["training"],
        metrics=meta["metrics"],
        golden=_parse_golden(meta["golden"]),
        sha256={name: entry["sha256"] for name, entry in meta["files"].items()},
    )


def _parse_model(architecture: Any, symbols: int) -> ModelConfig:
    model = ModelConfig(**architecture)
    bounds = {
        "vocab_size": (2, MAX_SYMBOLS),
        "hidden_size": (1, MAX_HIDDEN_SIZE),
        "num_layers": (1, MAX_LAYERS),
    }
    for name, (low, high) in bounds.items():
        value = getattr(model, name)
        if type(value) is not int or not low <= value <= high:
            raise CheckpointError(
                f"model.json: {name} must be a whole number from {low} to {high}, not {str(value)[:40]}"
            )
    if type(model.dropout) not in (int, float) or not 0 <= model.dropout < 1:
        raise CheckpointError(
            f"model.json: dropout must be from 0 to below 1, not {str(model.dropout)[:40]}"
        )
    if model.vocab_size != symbols:
        raise CheckpointError(
            f"model.json: vocab_size is {model.vocab_size}, but the vocabulary has {symbols} symbols"
        )
    return model


def _parse_golden(values: Any) -> Golden:
    golden = Golden(**values)
    for field in dataclasses.fields(Golden):
        if type(getattr(golden, field.name)).__name__ != field.type:
            raise CheckpointError(
                f"model.json: the golden text's {field.name} is not of the type {field.type}"
            )
    if not 1 <= golden.length == len(golden.text) <= _MAX_GOLDEN:
        raise CheckpointError(
            f"model.json: the golden text must have 1 to {_MAX_GOLDEN} characters, and as many as it says"
        )
    return golden


def _check_files(folder: Path, model: ModelConfig, entries: Mapping[str, tuple[Any, Any]]) -> None:
    if strange := sorted(set(entries) - set(FILES)):
        raise CheckpointError(
            f"model.json names the file {strange[0][:80]!r}, which is no part of a version"
        )
    if missing := sorted(set(FILES) - set(entries)):
        raise CheckpointError(f"model.json does not name {missing[0]}")
    parameters = sum(int(np.prod(shape)) for shape in parameter_shapes(model).values())
    limits = {
        "weights.safetensors": 2 * parameters + _MAX_OVERHEAD,
        "step.onnx": 2 * parameters + _MAX_OVERHEAD,
    }
    for name, (size, _) in entries.items():
        actual = (folder / name).stat().st_size
        if actual != size:
            raise CheckpointError(f"{name} has {actual:,} bytes, model.json says {size}")
        if actual > limits.get(name, _MAX_TEXT_BYTES):
            raise CheckpointError(f"{name} has {actual:,} bytes, too many for this architecture")
    for name, (_, sha256) in entries.items():
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise CheckpointError(f"{name} does not have the sha256 that model.json says")


def read_step_graph(version: Version) -> bytes:
    """Return the bytes of the int8 step graph, hashed once more: they may not be those that were checked."""
    graph = (version.folder / "step.onnx").read_bytes()
    if hashlib.sha256(graph).hexdigest() != version.sha256["step.onnx"]:
        raise CheckpointError("step.onnx does not have the sha256 that model.json says")
    return graph


def check_step_graph(version: Version) -> None:
    """Raise CheckpointError unless step.onnx is, byte for byte, the graph that ml/versions/graph.py makes of the weights.

    A graph is a program: one made elsewhere could read files of this machine into a text, or take
    all of its memory. This is asked once, where a version comes in; onnx is not on the serving
    path, which then goes by the hash.
    """
    from ml.versions.graph import build_int8_graph

    if read_step_graph(version) != build_int8_graph(version.model, read_weights(version)):
        raise CheckpointError(
            "step.onnx is not the graph that this release makes of weights.safetensors; export it again"
        )


def read_weights(version: Version) -> Arrays:
    """Return the weights in float32 by torch's names. Raises CheckpointError for wrong shapes or values that are not finite."""
    return {name: tensor.astype(np.float32) for name, tensor in _tensors(version)}


def check_weights(version: Version) -> None:
    """Raise CheckpointError unless the weights have the right shapes and finite values. Holds one tensor at a time."""
    for _ in _tensors(version):
        pass


def _tensors(version: Version) -> Iterator[tuple[str, npt.NDArray[np.float16]]]:
    shapes = parameter_shapes(version.model)
    try:
        with safe_open(version.folder / "weights.safetensors", "numpy") as file:
            if set(file.keys()) != set(shapes):
                names = sorted(set(file.keys()) ^ set(shapes))
                raise CheckpointError(
                    f"weights.safetensors has other tensors than this architecture: {names[0][:80]!r}"
                )
            for name, shape in shapes.items():
                view = file.get_slice(name)
                found = tuple(view.get_shape())
                if found != shape:
                    raise CheckpointError(
                        f"weights.safetensors: {name} has the shape {found}, expected {shape}"
                    )
                if view.get_dtype() != "F16":
                    raise CheckpointError(
                        f"weights.safetensors: {name} is {view.get_dtype()}, expected F16"
                    )
                tensor = file.get_tensor(name)
                if not np.isfinite(tensor).all():
                    raise CheckpointError(
                        f"weights.safetensors: {name} holds values that are not finite numbers"
                    )
                yield name, tensor
    except SafetensorError as error:
        raise CheckpointError(
            f"weights.safetensors is not a safetensors file: {str(error)[:200]}"
        ) from None


def half_precision(
    weights: Mapping[str, npt.NDArray[np.float32]],
) -> dict[str, npt.NDArray[np.float16]]:
    """Return `weights` as they are stored. Raises CheckpointError if a value does not fit."""
    halves = {name: tensor.astype(np.float16) for name, tensor in weights.items()}
    for name, tensor in halves.items():
        if not np.isfinite(tensor).all():
            raise CheckpointError(f"{name} holds values that are not finite numbers in float16")
    return halves


def write_version(
    folder: Path,
    *,
    weights: Mapping[str, npt.NDArray[np.float32]],
    vocabulary: Vocabulary,
    model: ModelConfig,
    training: dict[str, Any],
    metrics: dict[str, Any],
    title: str,
    samples: str,
    metrics_csv: str,
) -> Version:
    """Write a version to the new or empty `folder` and return it, read back. The same arguments give the same bytes."""
    from ml.versions.graph import build_int8_graph  # onnx is not on the serving path

    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise CheckpointError(f"{folder} is not empty; a version is written once and never changed")
    halves = half_precision(weights)
    stored = {name: tensor.astype(np.float32) for name, tensor in halves.items()}
    graph = build_int8_graph(model, stored)
    (folder / "weights.safetensors").write_bytes(save(halves))
    (folder / "step.onnx").write_bytes(graph)
    (folder / "samples.txt").write_text(samples, encoding="utf-8")
    (folder / "metrics.csv").write_text(metrics_csv, encoding="utf-8")
    meta = {
        "format": FORMAT,
        "title": title,
        "architecture": dataclasses.asdict(model),
        "vocabulary": vocabulary.symbols,
        "training": training,
        "metrics": metrics,
        "golden": dataclasses.asdict(_golden(graph, model, vocabulary)),
        "files": {name: _file_entry(folder / name) for name in FILES},
    }
    (folder / "model.json").write_text(
        json.dumps(meta, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    version = read_version(folder)
    check_weights(version)
    return version


def _file_entry(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    return {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def _golden(graph: bytes, model: ModelConfig, vocabulary: Vocabulary) -> Golden:
    from ml.engine.offline import generate
    from ml.engine.step import OnnxStep
    from ml.engine.stream import Request
    from ml.sampling import Sampling

    prompt, sampling = "It was ", Sampling(length=200, seed=1, temperature=0.8)
    step = OnnxStep(graph, model, rows=1, threads=1)
    text = generate(step, vocabulary, Request(prompt, sampling)).text
    return Golden(prompt, sampling.seed, sampling.length, sampling.temperature, text)
