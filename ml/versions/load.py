"""From the files of a version to an engine that has proved itself: loads, checks and starts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ml.engine.engine import Engine
from ml.engine.states import STATE_BYTES, States
from ml.engine.step import OnnxStep, Step, StepError
from ml.engine.stream import Request
from ml.sampling import Sampling
from ml.versions.errors import VersionError
from ml.versions.version import Golden, Version, read_step_graph, read_version
from ml.versions.weights import check_weights, read_weights

GOLDEN_SECONDS = 60  # the golden text takes some 20 ms; this bound is for an overloaded machine


def load_step(version: Version, *, rows: int, threads: int, step: str = "onnx") -> Step:
    """Return the step of `version`, with room for `rows` streams.

    `step` is "onnx" (int8, what serves) or "torch" (single precision, on CUDA where there is one).
    Raises VersionError when weights or graph do not fit the version's architecture.
    """
    if step == "torch":
        # The only import of torch while serving, and only when it is asked for.
        from ml.engine.torch_step import TorchStep

        return TorchStep(version.model, read_weights(version), rows=rows, threads=threads)
    if step != "onnx":
        raise ValueError(f'a step is "onnx" or "torch", not "{step}"')
    check_weights(version)
    try:
        return OnnxStep(read_step_graph(version), version.model, rows=rows, threads=threads)
    except StepError as error:
        raise VersionError(f"{version.folder.name}/step.onnx: {error}") from None


def start_engine(
    version: Version,
    *,
    max_streams: int = 64,
    threads: int = 2,
    step: str = "onnx",
    state_bytes: int = STATE_BYTES,
    on_death: Callable[[BaseException], None] | None = None,
) -> Engine:
    """Return a running engine of `version` that keeps up to `state_bytes` bytes of states.

    Raises VersionError as `load_step` does.
    """
    loaded = load_step(version, rows=max_streams, threads=threads, step=step)
    return Engine(
        loaded,
        version.vocabulary,
        digest=version.digest,
        states=States(state_bytes),
        on_death=on_death,
    )


def load_engine(
    folder: Path,
    digest: str,
    *,
    max_streams: int,
    threads: int,
    step: str = "onnx",
    state_bytes: int = STATE_BYTES,
    on_death: Callable[[BaseException], None] | None = None,
) -> Engine:
    """Return a running engine of the version in `folder`, which has passed every check.

    Raises VersionError if the folder holds a version with another digest or one that must not
    serve.
    """
    version = read_version(folder)
    if version.digest != digest:
        raise VersionError(f"{folder} holds version {version.digest[:12]}, not {digest[:12]}")
    engine = start_engine(
        version,
        max_streams=max_streams,
        threads=threads,
        step=step,
        state_bytes=state_bytes,
        on_death=on_death,
    )
    try:
        check_golden_text(engine, version.golden)
    except BaseException:
        engine.close()
        raise
    return engine


def check_golden_text(engine: Engine, golden: Golden) -> None:
    """Raise VersionError unless the engine writes the golden text, character by character."""
    try:
        sampling = Sampling(length=golden.length, seed=golden.seed, temperature=golden.temperature)
        request = Request(golden.prompt, sampling)
    except ValueError as error:
        raise VersionError(f"the golden text cannot be asked for: {error}") from None
    stream = engine.submit(request)
    if not stream.wait(GOLDEN_SECONDS):
        stream.cancel()
        raise VersionError(f"the golden text did not come within {GOLDEN_SECONDS} seconds")
    if stream.text != golden.text:
        at = _first_difference(stream.text, golden.text)
        reason = stream.error or stream.reason
        raise VersionError(f"the golden text differs at character {at} ({reason})")


def _first_difference(a: str, b: str) -> int:
    pairs = zip(a, b, strict=False)
    return next((index for index, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))
