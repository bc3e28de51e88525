"""Searches prompts and texts, in a column of its own in which case and accents are folded.

Housekeeping folds a text once, after its end, so that saving it every second writes no more
than the text. Until then `folded` is NULL, and a search folds the few such rows itself: it never
depends on housekeeping.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q, QuerySet

from generator.models import Generation
from generator.text import folded

FOLDED_AT_ONCE = 500  # rows of one transaction


def matching(rows: QuerySet[Generation], query: str) -> QuerySet[Generation]:
    """Return the `rows` whose prompt followed by their text contains `query`, taken literally."""
    wanted = folded(query) or query  # a lone accent folds to nothing, which every text contains
    unfolded = rows.filter(folded=None).values_list("pk", "prompt", "text")
    found = [pk for pk, prompt, text in unfolded if wanted in folded(prompt + text)]
    return rows.filter(Q(folded__contains=wanted) | Q(pk__in=found))


def texts_fold() -> int:
    """Fold texts that have ended, which no longer change. Returns how many."""
    # `exclude` and no order, so that the database uses the index of rows that are not folded, of
    # which there are few, and none that begins with the state.
    rows = Generation.objects.filter(folded=None).exclude(state__in=Generation.UNDER_WAY).order_by()
    ended = list(rows.values_list("pk", "prompt", "text")[:FOLDED_AT_ONCE])
    if ended:
        with transaction.atomic():
            for pk, prompt, text in ended:
                Generation.objects.filter(pk=pk).update(folded=folded(prompt + text))
    return len(ended)
