"""Tiny models with random weights: what is tested here holds for any weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings

from ml.config import ModelConfig
from ml.engine.engine import Engine
from ml.engine.step import OnnxStep
from ml.versions.load import start_engine
from ml.versions.version import Version, parameter_shapes, read_step_graph
from ml.versions.write import write_version
from ml.vocabulary import UNKNOWN, Vocabulary

# The same examples on every machine, and no timings.
settings.register_profile("ml", deadline=None, derandomize=True)
settings.load_profile("ml")

SYMBOLS = UNKNOWN + "\n !'.,ABCDETHNabcdefghiklmnorstuwy"
MODEL = ModelConfig(vocab_size=len(SYMBOLS), hidden_size=24, num_layers=2)

Weights = dict[str, npt.NDArray[np.float32]]


def random_weights(model: ModelConfig, seed: int = 0) -> Weights:
    """Weights that give a varied text: neither always the same character nor plain noise."""
    generator = np.random.default_rng(seed)
    weights = {}
    for name, shape in parameter_shapes(model).items():
        scale = 3.0 if name == "linear.weight" else 1.5
        weights[name] = (generator.normal(0, scale, shape) / np.sqrt(model.hidden_size)).astype(
            np.float32
        )
    return {name: tensor.astype(np.float16).astype(np.float32) for name, tensor in weights.items()}


def make_version(
    folder: Path, model: ModelConfig = MODEL, seed: int = 0, title: str = "tiny"
) -> Version:
    return write_version(
        folder,
        weights=random_weights(model, seed),
        vocabulary=Vocabulary(SYMBOLS),
        model=model,
        training={"seed": seed},
        metrics={"validation_nats_per_char": 3.0, "int8_validation_nats_per_char": 3.0},
        title=title,
        samples="a sample\n",
        metrics_csv="chars,minutes\n1,0.1\n",
    )


@pytest.fixture(scope="session")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A valid version; a test that changes files takes `version_copy`."""
    return make_version(tmp_path_factory.mktemp("version") / "tiny")


@pytest.fixture
def version_copy(version: Version, tmp_path: Path) -> Path:
    return Path(shutil.copytree(version.folder, tmp_path / "copy"))


@pytest.fixture(scope="session")
def step(version: Version) -> OnnxStep:
    """For offline texts, in row 0."""
    return OnnxStep(read_step_graph(version), version.model, rows=1, threads=1)


@pytest.fixture
def make_engine(version: Version) -> Iterator[Callable[..., Engine]]:
    engines: list[Engine] = []

    def make(**options: object) -> Engine:
        engines.append(start_engine(version, **{"threads": 1, **options}))  # type: ignore[arg-type]
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()
