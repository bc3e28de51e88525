"""What defines a text, in one value that is asked for, stored, compared and repeated.

The sampling parameters take their names from `ml.sampling.Sampling`, so that nothing here leaves
out a new one. A JSON column holds a list where `Sampling` has a tuple.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from uuid import UUID

from generator.models import Generation
from ml.sampling import SEED_LIMIT, Sampling

SAMPLING_NAMES = tuple(field.name for field in fields(Sampling))


@dataclass(frozen=True, slots=True)
class Parameters:
    """Equal parameters give equal texts. Where a text comes from is not compared."""

    prompt: str
    sampling: Sampling
    version_id: int | None = None  # of a ModelVersion; None: the live one
    parent_id: UUID | None = field(default=None, compare=False)  # what this repeats or continues
    # Characters of the parent's manuscript that this continues; None: it repeats the parent.
    fork_offset: int | None = field(default=None, compare=False)
    seed_is_new: bool = field(default=False, compare=False)  # nobody asked for this seed

    @classmethod
    def asked(cls, values: Mapping[str, Any], **references: Any) -> Parameters:
        """Return what a form asks for, from its values by field name; a seed of None draws one.

        `references` are `version_id`, `parent_id` and `fork_offset`.
        """
        if values["seed"] is not None:
            return cls(values["prompt"], _sampling(values), **references)
        return cls(values["prompt"], _sampling({**values, "seed": 0}), **references)._new_seed()

    @classmethod
    def continuing(
        cls, parent: Generation, values: Mapping[str, Any], *, version_id: int
    ) -> Parameters:
        """Return what goes on from a text that has ended, at its end or at `fork_offset`.

        The prompt is the manuscript up to there and what was `typed`, so that the new text needs
        its parent no more.
        """
        manuscript, offset = parent.manuscript, values["fork_offset"]
        kept = len(manuscript) if offset is None else offset
        return cls.asked(
            {**values, "prompt": manuscript[:kept] + values["typed"]},
            version_id=version_id,
            parent_id=parent.pk,
            fork_offset=kept,
        )

    @classmethod
    def of(cls, generation: Generation) -> Parameters:
        """Return what `generation` was made with. Raises ValueError if a value is out of range."""
        values = {name: getattr(generation, name) for name in SAMPLING_NAMES}
        references = (generation.model_version_id, generation.parent_id, generation.fork_offset)
        return cls(generation.prompt, _sampling(values), *references)

    @classmethod
    def again(cls, generation: Generation, *, same_seed: bool) -> Parameters:
        """Return what writes `generation` again: exactly, or with a new seed.

        With a new seed a continuation has a sibling, which continues the same parent.
        """
        if not same_seed and generation.fork_offset is not None:
            return cls.of(generation)._new_seed()
        repeated = replace(cls.of(generation), parent_id=generation.pk, fork_offset=None)
        return repeated if same_seed else repeated._new_seed()

    def _new_seed(self) -> Parameters:
        sampling = replace(self.sampling, seed=secrets.randbelow(SEED_LIMIT))
        return replace(self, sampling=sampling, seed_is_new=True)

    def columns(self) -> dict[str, Any]:
        """Return the columns of Generation that hold these parameters."""
        return {
            "prompt": self.prompt,
            **{name: _stored(getattr(self.sampling, name)) for name in SAMPLING_NAMES},
            "model_version_id": self.version_id,
            "parent_id": self.parent_id,
            "fork_offset": self.fork_offset,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of what was asked for: it tells a form that is sent twice from another form.

        A new seed does not count, because the second sending of a form draws another one.
        """
        asked = self.columns() | ({"seed": None} if self.seed_is_new else {})
        return hashlib.sha256(json.dumps(asked, default=str).encode()).hexdigest()


def _sampling(values: Mapping[str, Any]) -> Sampling:
    """Return the sampling parameters among `values`."""
    return Sampling(**{name: _loaded(values[name]) for name in SAMPLING_NAMES})


def _stored(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _loaded(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
