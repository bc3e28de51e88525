"""The database's clock. Machines' clocks differ, so what one writes and another compares is told by the one they share.

Inside a query that is Django's `Now()`, which is read when the query runs, however long it had to
wait for a lock.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import DateTimeField, Max, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Coalesce, Now

from generator.models import Worker


def now() -> datetime:
    """Return the moment by the database's clock."""
    nothing = Max(Cast(Value(None), DateTimeField()))  # makes it one row, whatever the table holds
    moment: datetime = Worker.objects.order_by().aggregate(now=Coalesce(nothing, Now()))["now"]
    return moment


def ago(seconds: float) -> Combinable:
    """Return what is `seconds` ago by the database's clock, for use in a query."""
    return Now() - timedelta(seconds=seconds)
