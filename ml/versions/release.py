"""From a training run to a version that can serve, with its loss measured on the graph that will serve."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from ml.config import ModelConfig, TrainConfig
from ml.data.corpus import Corpus
from ml.engine.offline import generate
from ml.engine.step import OnnxStep
from ml.engine.stream import Request
from ml.sampling import Sampling
from ml.training.history import read_history
from ml.versions.evaluate import evaluate
from ml.versions.graph import build_fp32_graph, build_int8_graph
from ml.versions.measure import LANES
from ml.versions.version import (
    Arrays,
    Version,
    half_precision,
    parameter_shapes,
    read_version,
    write_version,
)
from ml.vocabulary import Ids, Vocabulary

SAMPLE_CHARS = 600
SAMPLE_TEMPERATURES = (0.5, 0.8, 1.0)
SAMPLE_PROMPTS = ("It was a dark and stormy night", "")


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

    Its loss is measured on the validation split, or the first `validation_chars` of it, in float32
    as trained and as it is served. Raises ReleaseError or CheckpointError.
    """
    config = _read_config(run)
    snapshot = _nearest_snapshot(run, chars)
    seen = int(snapshot.stem)
    rows, header = _metrics_until(run / "metrics.csv", seen)
    model = ModelConfig(
        len(corpus.vocabulary), config.hidden_size, config.num_layers, config.dropout
    )
    weights = load_file(snapshot)
    if {name: tensor.shape for name, tensor in weights.items()} != parameter_shapes(model):
        raise ReleaseError(
            f"{snapshot.name} does not have the shapes of {run / 'config.json'} and this corpus"
        )
    ids = corpus.validation[:validation_chars]
    int8, losses = _losses(model, weights, corpus.vocabulary, ids, threads)
    last = dict(zip(header, rows[-1], strict=True))
    return write_version(
        folder,
        weights=weights,
        vocabulary=corpus.vocabulary,
        model=model,
        training=_training(config, corpus, run),
        metrics={
            **losses,
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


def _losses(
    model: ModelConfig, weights: Arrays, vocabulary: Vocabulary, ids: Ids, threads: int
) -> tuple[OnnxStep, dict[str, float]]:
    """Return the step that will serve, and the loss on `ids` in float32 as trained and of that step."""
    stored = {name: tensor.astype(np.float32) for name, tensor in half_precision(weights).items()}
    fp32 = OnnxStep(build_fp32_graph(model, weights), model, rows=LANES, threads=threads)
    int8 = OnnxStep(build_int8_graph(model, stored), model, rows=LANES, threads=threads)
    losses = {
        name: round(evaluate(step, vocabulary, ids, lanes=LANES, title=name).nats_per_char, 5)
        for name, step in (
            ("validation_nats_per_char", fp32),
            ("int8_validation_nats_per_char", int8),
        )
    }
    return int8, losses


def release_best(corpus: Corpus, run: Path, *, title: str = "", threads: int = 2) -> Version:
    """Write the snapshot of `run` with the lowest validation loss as a version under `run`/versions and return it.

    A version that is there already is returned as it is. Raises ReleaseError or CheckpointError.
    """
    rows = read_history(run)
    if not rows:
        raise ReleaseError(f"{run} has no snapshot yet; one is kept at each validation")
    chars = min(rows, key=lambda row: row.validation_nats_per_char).chars
    folder = run / "versions" / f"{chars:012d}"
    if (folder / "model.json").exists():
        return read_version(folder)
    config = _read_config(run)
    name = title or f"{config.num_layers}×{config.hidden_size} after {chars / 1e6:.1f} M characters"
    return release(corpus, run, folder, chars=chars, title=name, threads=threads)


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
    return values | {
        "corpus_digest": corpus.digest,
        "join_lines": corpus.join_lines,
        "books": len(corpus.books),
        "run": run.name,
    }


def write_samples(step: OnnxStep, vocabulary: Vocabulary) -> str:
    """Return continuations of each prompt that the model can read at each temperature, as a text for people."""
    parts = []
    prompts = [prompt for prompt in SAMPLE_PROMPTS if not vocabulary.unknown_characters(prompt)]
    for temperature in SAMPLE_TEMPERATURES:
        for prompt in prompts:
            sampling = Sampling(length=SAMPLE_CHARS, seed=1, temperature=temperature)
            text = generate(step, vocabulary, Request(prompt, sampling)).text
            parts.append(
                f"=== temperature {temperature}, seed {sampling.seed}, prompt {prompt!r}\n\n{prompt}{text}\n"
            )
    return "\n".join(parts)
