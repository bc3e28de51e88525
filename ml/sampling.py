"""How a text is drawn from a model. Needs the standard library only, so that a site may import it.

What defines a text is the model, the prompt and one `Sampling`. Everything that keeps, compares,
repeats or shows these values takes their names from `dataclasses.fields(Sampling)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SEED_LIMIT = 2**64  # seeds are smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """The sampling parameters of one text."""

    length: int  # characters to generate in all
    temperature: float = 1.0  # 0: always the likeliest character
    top_k: int | None = None  # draw from this many of the likeliest characters; None: from all
    top_p: float | None = None  # draw from the likeliest with this share of the probability
    stop: tuple[str, ...] = ()  # the generated text ends before the first of these
    seed: int

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if self.length < 1:
            raise ValueError(f"length must be at least 1, not {self.length}")
        if not 0 <= self.seed < SEED_LIMIT:
            raise ValueError(f"seed must be from 0 to 2**64 - 1, not {self.seed}")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature must be 0 or more, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        if "" in self.stop:
            raise ValueError("a stop string must not be empty")
