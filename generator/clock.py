"""The database's clock, for moments that one machine writes and another compares.

Queries use Django's `Now()` for it. The database reads that when the query runs, after any wait for
a lock.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import DateTimeField, Max, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Coalesce, Now

from generator.models import Worker


def now() -> datetime:
    """Return the moment by the database's clock."""
    nothing = Max(Cast(Value(None), DateTimeField()))  # an aggregate gives one row of any table
    moment: datetime = Worker.objects.order_by().aggregate(now=Coalesce(nothing, Now()))["now"]
    return moment


def ago(seconds: float) -> Combinable:
    """Return the moment `seconds` ago by the database's clock, for use in a query."""
    return Now() - timedelta(seconds=seconds)
