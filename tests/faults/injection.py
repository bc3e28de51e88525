"""Processes of a running product with a fault inside them; what can be wrong is in poison/sitecustomize.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from generator.operations import processes
from tests.stack import Stack

POISON = Path(__file__).parent / "poison"
SPOILT_SEED = 5  # of the stream that a fault is about; a seed of no other text


@contextmanager
def injected(stack: Stack, *faults: str) -> Iterator[None]:
    """Give the processes that are started inside these faults. They keep them until they are started again outside."""
    sound = stack.environment
    stack.environment = {
        **sound,
        "PYTHONPATH": f"{POISON}:{processes.HOME}",
        "FAULTS": " ".join(faults),
    }
    try:
        yield
    finally:
        stack.environment = sound


def start_with(stack: Stack, fault: str, *names: str) -> None:
    """Start processes again, with a fault inside."""
    for name in names:
        stack.kill(name)
    with injected(stack, fault):
        stack.start(*names)


def start_sound(stack: Stack, *names: str) -> None:
    """Start processes again, without any fault."""
    for name in names:
        if stack.is_running(name):
            stack.kill(name)
    stack.start(*names)
