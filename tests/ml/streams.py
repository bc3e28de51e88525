"""What tests of the engine need to make streams and to wait for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ml.engine.engine import Engine, Request, Stream
from ml.sampling import Sampling

MakeEngine = Callable[..., Engine]
SECONDS = 60  # for an overloaded machine; nothing here takes one
LONG = Request("The ", Sampling(length=10_000_000, seed=1))


def resampled(request: Request, **changes: Any) -> Request:
    """Return a request with other sampling parameters."""
    return replace(request, sampling=replace(request.sampling, **changes))


def finished(streams: list[Stream]) -> list[Stream]:
    """Return the streams once all have ended."""
    for stream in streams:
        assert stream.wait(SECONDS)
    return streams
