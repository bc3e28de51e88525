"""Faults inside processes of the running product; poison/sitecustomize.py defines them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from generator.operations import processes
from tests.stack import Stack

POISON = Path(__file__).parent / "poison"
SPOILT_SEED = 5  # of the stream that a fault hits; no other text has this seed


@contextmanager
def injected(stack: Stack, *faults: str) -> Iterator[None]:
    """Give these faults to processes started within the context, for as long as they run."""
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
    """Restart processes with a fault."""
    for name in names:
        stack.kill(name)
    with injected(stack, fault):
        stack.start(*names)


def start_sound(stack: Stack, *names: str) -> None:
    """Restart processes without faults."""
    for name in names:
        if stack.is_running(name):
            stack.kill(name)
    stack.start(*names)
