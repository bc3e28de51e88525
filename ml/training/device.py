"""The device that a run trains on, and whether it can train in the precision asked for."""

from __future__ import annotations

import torch

from ml.config import ModelConfig, TrainingError
from ml.training.model import CharRNN


def find_device(name: str) -> torch.device:
    """Return the device; "auto" takes CUDA where there is one.

    Raises TrainingError for a device that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        raise TrainingError(
            f"there is no device {name} on this machine; --device auto takes what there is"
        ) from None
    return device


def check_precision(precision: str, device: torch.device) -> None:
    """Raise TrainingError if `device` cannot train in `precision`. Draws random numbers.

    A model of one unit is tried out. Whether it works depends on the library that multiplies:
    neither a processor's name nor its flags say what that was built for or told to use.
    """
    if precision == "fp32":
        return
    model = CharRNN(ModelConfig(vocab_size=2, hidden_size=1)).to(device)
    try:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits, _ = model(torch.zeros(1, 1, dtype=torch.int64, device=device))
        logits.float().sum().backward()
    except RuntimeError as error:
        place = "processor" if device.type == "cpu" else f"device {device}"
        raise TrainingError(
            f"this {place} cannot multiply {precision}; leave out --precision {precision}: "
            "a run that was begun with it goes on without"
        ) from error
