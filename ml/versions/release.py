"""From a training run to a version, with its loss measured on the graph that will serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from ml import strict_json
from ml.config import ModelConfig, TrainConfig
from ml.data.corpus import Corpus
from ml.engine.offline import generate
from ml.engine.step import OnnxStep
from ml.engine.stream import Request
from ml.errors import UserError
from ml.measurements import FILE, Measurement, as_csv, best, read_measurements
from ml.sampling import Sampling
from ml.versions.evaluation import LANES, evaluate
from ml.versions.graph import build_fp32_graph, build_int8_graph
from ml.versions.version import Version, parameter_shapes, read_version
from ml.versions.weights import Arrays, half_precision, stored_precision
from ml.versions.write import write_version
from ml.vocabulary import Ids, Vocabulary

SAMPLE_CHARS = 600
SAMPLE_TEMPERATURES = (0.5, 0.8, 1.0)
SAMPLE_PROMPTS = ("It was a dark and stormy night", "")


class ReleaseError(UserError):
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

    The loss on the validation split, or the first `validation_chars` of it, is measured twice: in
    float32 as trained, and as it is served. Raises ReleaseError or VersionError.
    """
    config = _read_config(run)
    snapshot = _nearest_snapshot(run, chars)
    seen = int(snapshot.stem)
    rows = _measurements_until(run, seen)
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
            "minutes": float(rows[-1].minutes),
            "chars_per_second": float(rows[-1].chars_per_second),
            "train_nats_per_char": float(rows[-1].train_nats_per_char),
        },
        title=title,
        samples=write_samples(int8, corpus.vocabulary),
        metrics_csv=as_csv(rows),
    )


def _losses(
    model: ModelConfig, weights: Arrays, vocabulary: Vocabulary, ids: Ids, threads: int
) -> tuple[OnnxStep, dict[str, float]]:
    """Return the step that will serve, and the losses on `ids`: in float32 and of that step."""
    stored = stored_precision(half_precision(weights))
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
    """Write the snapshot of `run` with the lowest validation loss as a version and return it.

    It goes to a folder below `run`/versions. A version that exists already is returned as it is.
    Raises ReleaseError or VersionError.
    """
    rows = read_measurements(run)
    if not rows:
        raise ReleaseError(f"{run} has no snapshot yet; one is kept at each validation")
    chars = best(rows).chars
    folder = run / "versions" / f"{chars:012d}"
    if (folder / "model.json").exists():
        return read_version(folder)
    config = _read_config(run)
    name = title or f"{config.num_layers}×{config.hidden_size} after {chars / 1e6:.1f} M characters"
    return release(corpus, run, folder, chars=chars, title=name, threads=threads)


def _read_config(run: Path) -> TrainConfig:
    try:
        return TrainConfig(**strict_json.parse((run / "config.json").read_bytes()))
    except FileNotFoundError:
        raise ReleaseError(f"{run} holds no training run: it has no config.json") from None
    except (ValueError, TypeError) as error:
        raise ReleaseError(f"{run / 'config.json'} is damaged ({error})") from None


def _nearest_snapshot(run: Path, chars: int) -> Path:
    snapshots = sorted((run / "snapshots").glob("*.safetensors"))
    if not snapshots:
        raise ReleaseError(f"{run} has no snapshot yet; one is kept at each validation")
    return min(snapshots, key=lambda path: abs(int(path.stem) - chars))


def _measurements_until(run: Path, chars: int) -> list[Measurement]:
    """Return the measurements of the first `chars` characters; at least one."""
    kept = [row for row in read_measurements(run) if row.chars <= chars]
    if not kept:
        raise ReleaseError(f"{run / FILE} says nothing of the first {chars:,} characters")
    return kept


def _training(config: TrainConfig, corpus: Corpus, run: Path) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(config, name) for name in TrainConfig.__slots__}
    return values | {
        "corpus_digest": corpus.digest,
        "join_lines": corpus.join_lines,
        "books": len(corpus.books),
        "run": run.name,
    }


def write_samples(step: OnnxStep, vocabulary: Vocabulary) -> str:
    """Return a text for people: continuations of each prompt at each temperature.

    Prompts with characters that the model does not know are left out.
    """
    parts = []
    prompts = [prompt for prompt in SAMPLE_PROMPTS if not vocabulary.unknown_characters(prompt)]
    for temperature in SAMPLE_TEMPERATURES:
        for prompt in prompts:
            sampling = Sampling(length=SAMPLE_CHARS, seed=1, temperature=temperature)
            text = generate(step, vocabulary, Request(prompt, sampling)).text
            parts.append(
                f"=== temperature {temperature}, seed {sampling.seed}, prompt {prompt!r}\n\n"
                f"{prompt}{text}\n"
            )
    return "\n".join(parts)
