"""From a training run to a version that can serve, with its loss measured on the graph that will serve."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from ml.checkpoint import (
    Version,
    half_precision,
    parameter_shapes,
    read_step_graph,
    read_version,
    read_weights,
    write_version,
)
from ml.config import ModelConfig, TrainConfig
from ml.corpus import Corpus
from ml.evaluate import Evaluation, evaluate
from ml.export import build_fp32_graph, build_int8_graph
from ml.offline import generate
from ml.step import OnnxStep
from ml.stream import Request
from ml.vocabulary import Vocabulary, normalize

LANES = 64
SAMPLE_CHARS = 600
SAMPLE_TEMPERATURES = (0.5, 0.8, 1.0)
SAMPLE_PROMPTS = ("It was a dark and stormy night", "")

Weights = Mapping[str, npt.NDArray[np.float32]]


class ReleaseError(Exception):
    """The run cannot be made into a version; the message says why."""


def release(
    corpus: Corpus,
    run: Path,
    folder: Path,
    *,
    chars: int,
    title: str,
    validation_chars: int | None = None,
    threads: int = 2,
) -> Version:
    """Write the snapshot of `run` nearest to `chars` characters as a version and return it.

    Its loss is measured on the validation split, or the first `validation_chars` of it, in float32 as trained and as it is
    served. Raises ReleaseError or CheckpointError.
    """
    config = _read_config(run)
    snapshot = _nearest_snapshot(run, chars)
    seen = int(snapshot.stem)
    rows, header = _metrics_until(run / "metrics.csv", seen)
    model = ModelConfig(len(corpus.vocabulary), config.hidden_size, config.num_layers, config.dropout)
    weights = load_file(snapshot)
    if {name: tensor.shape for name, tensor in weights.items()} != parameter_shapes(model):
        raise ReleaseError(f"{snapshot.name} does not have the shapes of {run / 'config.json'} and this corpus")
    stored = {name: tensor.astype(np.float32) for name, tensor in half_precision(weights).items()}
    fp32 = OnnxStep(build_fp32_graph(model, weights), model, rows=LANES, threads=threads)
    int8 = OnnxStep(build_int8_graph(model, stored), model, rows=LANES, threads=threads)
    ids = corpus.validation[:validation_chars]
    last = dict(zip(header, rows[-1], strict=True))
    losses = {
        name: round(evaluate(step, corpus.vocabulary, ids, lanes=LANES, title=name).nats_per_char, 5)
        for name, step in (("fp32", fp32), ("int8", int8))
    }
    return write_version(
        folder,
        weights=weights,
        vocabulary=corpus.vocabulary,
        model=model,
        training=_training(config, corpus, run),
        metrics={
            "validation_nats_per_char": losses["fp32"],
            "int8_validation_nats_per_char": losses["int8"],
            "validation_chars": len(ids),
            "chars": seen,
            "minutes": float(last["minutes"]),
            "chars_per_second": float(last["chars_per_second"]),
            "train_nats_per_char": float(last["train_nats_per_char"]),
        },
        title=title,
        samples=write_samples(int8, corpus.vocabulary),
        metrics_csv=_csv([header, *rows]),
    )


def _read_config(run: Path) -> TrainConfig:
    try:
        return TrainConfig(**json.loads((run / "config.json").read_text()))
    except FileNotFoundError:
        raise ReleaseError(f"{run} holds no training run: it has no config.json") from None


def _nearest_snapshot(run: Path, chars: int) -> Path:
    snapshots = sorted((run / "snapshots").glob("*.safetensors"))
    if not snapshots:
        raise ReleaseError(f"{run} has no snapshot yet; one is kept at each validation")
    return min(snapshots, key=lambda path: abs(int(path.stem) - chars))


def _metrics_until(path: Path, chars: int) -> tuple[list[list[str]], list[str]]:
    """Return the rows of metrics.csv up to `chars` characters, and its header."""
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    kept = [row for row in rows if int(row[0]) <= chars]
    if not kept:
        raise ReleaseError(f"{path} says nothing of the first {chars:,} characters")
    return kept, header


def _csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _training(config: TrainConfig, corpus: Corpus, run: Path) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(config, name) for name in TrainConfig.__slots__}
    return values | {"corpus_digest": corpus.digest, "books": len(corpus.books), "run": run.name}


def write_samples(step: OnnxStep, vocabulary: Vocabulary) -> str:
    """Return continuations of each prompt at each temperature, as a text for people."""
    parts = []
    for temperature in SAMPLE_TEMPERATURES:
        for prompt in SAMPLE_PROMPTS:
            request = Request(prompt=prompt, length=SAMPLE_CHARS, seed=1, temperature=temperature)
            text = generate(step, vocabulary, request).text
            parts.append(f"=== temperature {temperature}, seed {request.seed}, prompt {prompt!r}\n\n{prompt}{text}\n")
    return "\n".join(parts)


def evaluate_file(folder: Path, path: Path, *, precision: str = "int8", threads: int = 2) -> Evaluation:
    """Return how well the version in `folder` predicts the UTF-8 text in `path`. `precision` is "int8" or "fp32"."""
    version = read_version(folder)
    try:
        text = normalize(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ReleaseError(f"{path} is not UTF-8 text") from None
    weights: Weights = read_weights(version)
    graph = read_step_graph(version) if precision == "int8" else build_fp32_graph(version.model, weights)
    step = OnnxStep(graph, version.model, rows=LANES, threads=threads)
    return evaluate(step, version.vocabulary, version.vocabulary.encode(text), lanes=LANES)
