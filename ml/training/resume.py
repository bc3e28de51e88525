"""The resume point of a training run: all that the next step depends on, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ml import strict_json
from ml.config import TrainConfig, TrainingError
from ml.files import write_whole
from ml.training.model import State

ARCHITECTURE = ("hidden_size", "num_layers")
POSITION = ("batch_size", "sequence_length", "seed")  # with the step they say what was read


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run is."""

    step: int
    seconds: float  # of training so far
    state: State  # carried to the next step
    losses: Sequence[float]  # since the last validation


def save_point(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, at: Position, corpus: str
) -> None:
    """Write the resume point; the old one stays until the new one is complete.

    `corpus` is the digest of the corpus.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for parameter, moments in optimizer.state.items():
        for key, value in moments.items():
            tensors[f"optimizer.{names[id(parameter)]}.{key}"] = torch.as_tensor(value).clone()
    tensors["state.hidden"], tensors["state.cell"] = (part.contiguous() for part in at.state)
    tensors["losses"] = torch.tensor(at.losses, dtype=torch.float64)
    tensors["generator"] = torch.get_rng_state()
    if at.state[0].is_cuda:
        tensors["generator.cuda"] = torch.cuda.get_rng_state(at.state[0].device)
    metadata = {"step": str(at.step), "seconds": str(at.seconds), "corpus": corpus}
    write_whole(path, save(tensors, metadata=metadata))


def load_point(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, corpus: str
) -> Position:
    """Restore model, optimizer and generators from `path` and return the position.

    Raises TrainingError if the file is damaged or of another run.
    """
    tensors, metadata = _read(path)
    if metadata.get("corpus", corpus) != corpus:
        raise TrainingError(
            f"{path.parent} holds a run on another corpus; choose a new --run folder"
        )
    weights = {
        name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")
    }
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise TrainingError(_another_architecture(path.parent)) from None
    device = next(model.parameters()).device
    for name, parameter in model.named_parameters():
        prefix = f"optimizer.{name}."
        moments = {
            key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)
        }
        optimizer.state[parameter] = {
            key: t if key == "step" else t.to(device) for key, t in moments.items()
        }
    torch.set_rng_state(tensors["generator"])
    if device.type == "cuda" and "generator.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["generator.cuda"], device)
    return Position(
        step=int(metadata["step"]),
        seconds=float(metadata["seconds"]),
        state=(tensors["state.hidden"].to(device), tensors["state.cell"].to(device)),
        losses=tensors["losses"].tolist() if "losses" in tensors else [],
    )


def check_same_run(folder: Path, config: TrainConfig) -> None:
    """Raise TrainingError if the run in `folder` began with other values that cannot change."""
    path = folder / "config.json"
    if not path.exists():
        return
    try:
        before = strict_json.parse(path.read_bytes())
    except ValueError as error:
        raise TrainingError(f"{path} is damaged ({error}); choose a new --run folder") from None
    for name in ARCHITECTURE + POSITION:
        if name not in before or before[name] == getattr(config, name):
            continue
        if name in ARCHITECTURE:
            raise TrainingError(_another_architecture(folder))
        flag = f"--{name.replace('_', '-')} {before[name]}"
        raise TrainingError(
            f"{folder} holds a run with {flag}, which cannot change on the way; "
            "choose a new --run folder"
        )


def _another_architecture(folder: Path) -> str:
    return f"{folder} holds a run of another architecture; choose a new --run folder"


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        return load_file(path), metadata
    except SafetensorError as error:
        raise TrainingError(f"{path} is damaged ({error}); remove it to begin anew") from None
