"""Streams whose characters a test writes itself, as the engine's thread would."""

from __future__ import annotations

from ml.engine.engine import Request, Stream
from ml.sampling import Sampling


def stream(text: str = "", *, base: str = "") -> Stream:
    """Return a stream that goes on from `base` and has written `text`."""
    made = Stream(Request("", Sampling(length=1_000, seed=1), text=base))
    write(made, text)
    return made


def write(stream: Stream, text: str) -> None:
    """Add characters."""
    for character in text:
        stream.append(character, distance=0.0, total=2.0**40)
