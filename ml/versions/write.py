"""Writes a version: weights, step graph, texts for people, and the model.json that seals them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from ml import strict_json
from ml.config import ModelConfig
from ml.engine.offline import generate
from ml.engine.step import OnnxStep
from ml.engine.stream import Request
from ml.sampling import Sampling
from ml.versions.errors import VersionError
from ml.versions.graph import build_int8_graph
from ml.versions.version import FILES, FORMAT, METADATA, WEIGHTS, Golden, Version, read_version
from ml.versions.weights import check_weights, half_precision, stored_precision
from ml.vocabulary import Vocabulary


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
    """Write a version to the new or empty `folder` and return it, read back.

    The same arguments give the same bytes. Raises VersionError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise VersionError(f"{folder} is not empty; a version is written once and never changed")
    halves = half_precision(weights)
    graph = build_int8_graph(model, stored_precision(halves))
    contents = {
        WEIGHTS: save(halves),
        "step.onnx": graph,
        "samples.txt": samples.encode(),
        "metrics.csv": metrics_csv.encode(),
    }
    description = {
        "format": FORMAT,
        "title": title,
        "architecture": dataclasses.asdict(model),
        "vocabulary": vocabulary.symbols,
        "training": training,
        "metrics": metrics,
        "golden": dataclasses.asdict(_golden(graph, model, vocabulary)),
        "files": {name: _file_entry(contents[name]) for name in FILES},
    }
    try:
        text = strict_json.serialize(description, indent=1)
    except ValueError as error:
        raise VersionError(f"{METADATA} cannot hold what describes the version: {error}") from None
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / METADATA).write_text(text + "\n", encoding="utf-8")
    version = read_version(folder)
    check_weights(version)
    return version


def _file_entry(raw: bytes) -> dict[str, Any]:
    return {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def _golden(graph: bytes, model: ModelConfig, vocabulary: Vocabulary) -> Golden:
    prompt, sampling = "It was ", Sampling(length=200, seed=1, temperature=0.8)
    step = OnnxStep(graph, model, rows=1, threads=1)
    text = generate(step, vocabulary, Request(prompt, sampling)).text
    return Golden(prompt, sampling.seed, sampling.length, sampling.temperature, text)
