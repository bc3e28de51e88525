"""Model versions that are registered while they are sound, and then spoilt or removed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from generator.operations import processes
from tests.environment import isolated_environment
from tests.ml.conftest import make_version
from tests.ml.tampering import replace_weights

# Registers directly in MLflow: `python -m ml register` would check the version first.
REGISTER = """
import hashlib, shutil, sys
from pathlib import Path
from mlflow import MlflowClient
data_dir = Path(sys.argv[1])
client = MlflowClient(f"sqlite:///{data_dir / 'mlflow.db'}", f"sqlite:///{data_dir / 'mlflow.db'}")
experiment = client.get_experiment_by_name("charrnn").experiment_id
for folder in map(Path, sys.argv[2:]):
    run = client.create_run(experiment).info
    kept = data_dir / "mlartifacts" / run.run_id / "artifacts" / "version"
    shutil.copytree(folder, kept)
    source = f"{run.artifact_uri}/version"
    digest = hashlib.sha256((folder / "model.json").read_bytes()).hexdigest()
    tags = {"digest": digest, "title": folder.name, "vocabulary_size": "35"}
    client.create_model_version("charrnn", source, run.run_id, tags=tags)
    print("source", kept)
"""
BAD = {  # fault → the message of the check that refuses the version
    "flipped byte": "weights.safetensors does not have the sha256",
    "NaN weights": "lstm.weight_hh_l1 holds values that are not finite numbers",
    "missing file": "the version folder has no step.onnx",
    "wrong shape": "linear.bias has the shape",
}
ABSENT = {  # fault → the error of a text that was to be written with the version
    "deleted": "Version {} is not in the registry.",
    "emptied": "The files of version {} are missing or damaged.",
}
# Changes of weights after which the hashes are computed again, so that they are right.
HOW: dict[str, Callable[[dict[str, Any]], object]] = {
    "NaN weights": lambda tensors: tensors["lstm.weight_hh_l1"].__setitem__((3, 4), np.nan),
    "wrong shape": lambda tensors: tensors.update({"linear.bias": tensors["linear.bias"][:-1]}),
}


def bad_version(folder: Path, name: str) -> Path:
    """Create a small version, with its weights changed if `name` is in HOW."""
    make_version(folder, seed=[*BAD, *ABSENT].index(name), title=name)
    if name in HOW:
        replace_weights(folder, HOW[name])
    return folder


def register(data_dir: Path, folders: list[Path]) -> list[Path]:
    """Register versions and return the folders of their files in the registry."""
    command = [sys.executable, "-c", REGISTER, str(data_dir), *map(str, folders)]
    environment = isolated_environment(data_dir)
    done = subprocess.run(
        command,
        env=environment,
        cwd=processes.HOME,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("source ")]
    return [Path(line.removeprefix("source ")) for line in lines]


def spoil(fetched: Path, rows: dict[str, dict[str, Any]], sources: dict[str, Path]) -> None:
    """Remove a file of one version in the registry, and flip a byte of another that was fetched."""
    for name in BAD:
        source = sources[name]
        if name == "missing file":
            (source / "step.onnx").unlink()
        else:
            shutil.copytree(source, fetched / rows[name]["digest"])
    weights = fetched / rows["flipped byte"]["digest"] / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
