"""A model version on disk: a folder of plain files, none of which can execute anything.

    model.json           format, architecture, vocabulary, training config, metrics, golden text,
                         and the size and sha256 of each other file
    weights.safetensors  the weights in float16, named as torch names them
    step.onnx            the int8 step graph made of them (ml/versions/graph.py)
    samples.txt          texts at a few temperatures
    metrics.csv          the training run up to here

The digest of a version is the sha256 of model.json, and thereby covers everything. Reading checks
before it trusts: first the list of files, then sizes, then hashes. Nothing big is read before
that, and nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml import strict_json
from ml.config import ModelConfig
from ml.versions.errors import VersionError
from ml.vocabulary import MAX_SYMBOLS, Vocabulary, VocabularyError

FORMAT = "charrnn-version/1"
METADATA = "model.json"
WEIGHTS = "weights.safetensors"
FILES = (WEIGHTS, "step.onnx", "samples.txt", "metrics.csv")
MAX_HIDDEN_SIZE = 4096
MAX_LAYERS = 8
MAX_TITLE = 200  # characters, as many as the site's row holds
# Of model.json. Parsing a file of nothing but brackets takes twenty times its size in memory.
_MAX_META_BYTES = 200_000
_MAX_TEXT_BYTES = 1_000_000  # of samples.txt and metrics.csv, each
_MAX_GOLDEN = 10_000  # characters: it is generated whenever the version is loaded
_MAX_OVERHEAD = 1_000_000  # of weights.safetensors and step.onnx beyond the weights themselves

# What reading a malformed description may raise.
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Golden:
    """A request, and the text that the step graph must write for it on every machine."""

    prompt: str
    seed: int
    length: int
    temperature: float
    text: str


@dataclass(frozen=True, slots=True)
class Version:
    """The description of a version whose files have been checked."""

    folder: Path
    digest: str  # sha256 of model.json, in hexadecimal
    title: str
    model: ModelConfig
    vocabulary: Vocabulary
    training: dict[str, Any]
    metrics: dict[str, Any]
    golden: Golden
    sha256: dict[str, str]  # of each file except model.json


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
    """Return the version in `folder` after checking its files. Raises VersionError."""
    _check_file_list(folder)
    raw = _read_small(folder / METADATA)
    try:
        meta = strict_json.parse(raw)
        version = _parse(folder, hashlib.sha256(raw).hexdigest(), meta)
        entries = {name: (entry["bytes"], entry["sha256"]) for name, entry in meta["files"].items()}
    except VersionError:
        raise
    except VocabularyError as error:
        raise VersionError(f"model.json: {error}") from None
    except _MALFORMED as error:
        reason = str(error)[:200] or type(error).__name__
        raise VersionError(f"model.json is not a description of a version: {reason}") from None
    _check_files(folder, version.model, entries)
    return version


def is_complete(folder: Path) -> bool:
    """Tell whether `folder` holds all files of a version in full size, without reading them."""
    try:
        _check_file_list(folder)
        entries = strict_json.parse(_read_small(folder / METADATA))["files"]
        return all(
            (folder / name).stat().st_size == entry["bytes"] for name, entry in entries.items()
        )
    except (VersionError, OSError, *_MALFORMED):
        return False


def _check_file_list(folder: Path) -> None:
    if not folder.is_dir():
        raise VersionError(f"there is no version folder {folder}")
    expected = {*FILES, METADATA}
    found = {entry.name: entry for entry in os.scandir(folder)}
    if extra := sorted(set(found) - expected):
        raise VersionError(f"the version folder holds {extra[0]!r}, which is no part of a version")
    if missing := sorted(expected - set(found)):
        raise VersionError(f"the version folder has no {missing[0]}")
    for name, entry in found.items():
        if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            raise VersionError(f"{name} is not a regular file")


def _read_small(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(_MAX_META_BYTES + 1)
    if len(raw) > _MAX_META_BYTES:
        raise VersionError(f"{path.name} is larger than {_MAX_META_BYTES:,} bytes")
    return raw


def _parse(folder: Path, digest: str, meta: Any) -> Version:
    if meta["format"] != FORMAT:
        raise VersionError(
            f"model.json has the format {str(meta['format'])[:40]!r}, expected {FORMAT!r}"
        )
    if not isinstance(meta["vocabulary"], str):
        raise VersionError("model.json: the vocabulary is not a text of its symbols")
    vocabulary = Vocabulary(meta["vocabulary"])
    model = _parse_model(meta["architecture"], len(vocabulary))
    for name, kind in (("title", str), ("training", dict), ("metrics", dict)):
        if not isinstance(meta[name], kind):
            raise VersionError(f"model.json: {name} is not of the type {kind.__name__}")
    if len(meta["title"]) > MAX_TITLE or not meta["title"].isprintable():
        raise VersionError(
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
            raise VersionError(
                f"model.json: {name} must be a whole number from {low} to {high}, "
                f"not {str(value)[:40]}"
            )
    if type(model.dropout) not in (int, float) or not 0 <= model.dropout < 1:
        raise VersionError(
            f"model.json: dropout must be from 0 to below 1, not {str(model.dropout)[:40]}"
        )
    if model.vocab_size != symbols:
        raise VersionError(
            f"model.json: vocab_size is {model.vocab_size}, "
            f"but the vocabulary has {symbols} symbols"
        )
    return model


def _parse_golden(values: Any) -> Golden:
    golden = Golden(**values)
    for field in dataclasses.fields(Golden):
        if type(getattr(golden, field.name)).__name__ != field.type:
            raise VersionError(
                f"model.json: the golden text's {field.name} is not of the type {field.type}"
            )
    if not 1 <= golden.length == len(golden.text) <= _MAX_GOLDEN:
        raise VersionError(
            f"model.json: the golden text must have 1 to {_MAX_GOLDEN} characters, "
            "and as many as it says"
        )
    return golden


def _check_files(folder: Path, model: ModelConfig, entries: Mapping[str, tuple[Any, Any]]) -> None:
    if strange := sorted(set(entries) - set(FILES)):
        raise VersionError(
            f"model.json names the file {strange[0][:80]!r}, which is no part of a version"
        )
    if missing := sorted(set(FILES) - set(entries)):
        raise VersionError(f"model.json does not name {missing[0]}")
    parameters = sum(int(np.prod(shape)) for shape in parameter_shapes(model).values())
    limits = {
        WEIGHTS: 2 * parameters + _MAX_OVERHEAD,
        "step.onnx": 2 * parameters + _MAX_OVERHEAD,
    }
    for name, (size, _) in entries.items():
        actual = (folder / name).stat().st_size
        if actual != size:
            raise VersionError(f"{name} has {actual:,} bytes, model.json says {size}")
        if actual > limits.get(name, _MAX_TEXT_BYTES):
            raise VersionError(f"{name} has {actual:,} bytes, too many for this architecture")
    for name, (_, sha256) in entries.items():
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise VersionError(f"{name} does not have the sha256 that model.json says")


def read_step_graph(version: Version) -> bytes:
    """Return the bytes of the int8 step graph. Raises VersionError if the file has changed."""
    graph = (version.folder / "step.onnx").read_bytes()
    if hashlib.sha256(graph).hexdigest() != version.sha256["step.onnx"]:
        raise VersionError("step.onnx does not have the sha256 that model.json says")
    return graph
