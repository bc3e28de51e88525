"""Columns that Django does not have."""

from __future__ import annotations

from typing import Any

from django.db import models

from ml.sampling import SEED_LIMIT


class SeedField(models.BigIntegerField):  # type: ignore[type-arg]
    """An unsigned 64-bit integer, kept in the signed column that every database has."""

    def get_prep_value(self, value: Any) -> int | None:
        if value is None:
            return None
        number = int(value)
        return number - SEED_LIMIT if number >= SEED_LIMIT // 2 else number

    def from_db_value(self, value: int | None, *_: object) -> int | None:
        return value if value is None or value >= 0 else value + SEED_LIMIT

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**{"min_value": 0, "max_value": SEED_LIMIT - 1, **kwargs})
