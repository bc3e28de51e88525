"""Searching prompts and texts. What is looked through is a column of its own, in which case and accents are folded.

A text is folded once, by housekeeping, after its end: a checkpoint each second then has nothing
more to write. Until then `folded` is NULL, and a search folds the few such rows itself, so that it
never depends on housekeeping.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q, QuerySet

from generator.models import Generation
from generator.text import folded

FOLDED_AT_ONCE = 500  # rows of one transaction


def matching(rows: QuerySet[Generation], query: str) -> QuerySet[Generation]:
    """Return those of `rows` in whose prompt and text, read as one, `query` occurs. Every character is taken literally."""
    wanted = folded(query) or query  # a lone accent folds to nothing, which is everywhere
    unfolded = rows.filter(folded=None).values_list("pk", "prompt", "text")
    found = [pk for pk, prompt, text in unfolded if wanted in folded(prompt + text)]
    return rows.filter(Q(folded__contains=wanted) | Q(pk__in=found))


def texts_fold() -> int:
    """Fold texts that have ended; return how many. Their text changes no more."""
    # Put so that no index of states fits better than the one of rows that are not folded, of which
    # there are few.
    rows = Generation.objects.filter(folded=None).exclude(state__in=Generation.UNDER_WAY).order_by()
    ended = list(rows.values_list("pk", "prompt", "text")[:FOLDED_AT_ONCE])
    if ended:
        with transaction.atomic():
            for pk, prompt, text in ended:
                Generation.objects.filter(pk=pk).update(folded=folded(prompt + text))
    return len(ended)
