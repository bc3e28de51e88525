"""State changes are conditional: of two that compete, one finds no row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from generator import clock, services
from generator.models import Generation, Owner
from generator.services import Progress

Make = Callable[..., Generation]


def progress(generation: Generation, text: str = "abc", attempt: int | None = None) -> Progress:
    return Progress(
        generation.pk, generation.attempt if attempt is None else attempt, text, timezone.now()
    )


def fresh(generation: Generation) -> Generation:
    return Generation.objects.get(pk=generation.pk)


def test_one_of_two_claims_wins(make_generation: Make) -> None:
    generation = make_generation()
    claimed = services.generation_claim(generation_id=generation.pk, worker_id="one")
    assert claimed is not None
    assert (claimed.state, claimed.attempt, claimed.worker_id) == ("running", 1, "one")
    assert services.generation_claim(generation_id=generation.pk, worker_id="two") is None


@pytest.mark.parametrize("state", ["running", "done", "cancelled", "failed"])
def test_only_what_is_queued_is_claimed(make_generation: Make, state: str) -> None:
    assert (
        services.generation_claim(generation_id=make_generation(state=state).pk, worker_id="w")
        is None
    )


def test_a_stale_attempt_writes_nothing(make_generation: Make) -> None:
    generation = make_generation(state="running", attempt=2, text="kept")
    stale = progress(generation, "stale", attempt=1)
    assert services.generations_save([stale]) == {(generation.pk, 1)}
    assert not services.generation_finish(progress=stale, state="done", reason="length")
    assert not services.generation_requeue(progress=stale)
    assert (fresh(generation).text, fresh(generation).state) == ("kept", "running")


def test_saving_returns_the_attempts_that_must_stop(make_generation: Make) -> None:
    going, cancelled = (make_generation(state="running", attempt=1) for _ in range(2))
    Generation.objects.filter(pk=cancelled.pk).update(cancel_requested=True)
    assert services.generations_save([progress(going), progress(cancelled)]) == {(cancelled.pk, 1)}
    assert fresh(going).text == "abc"


def test_the_first_character_keeps_its_moment_over_attempts(make_generation: Make) -> None:
    generation = make_generation(state="running", attempt=1)
    first = timezone.now() - timedelta(seconds=9)
    services.generations_save([Progress(generation.pk, 1, "a", first)])
    services.generations_save([progress(generation)])
    assert fresh(generation).first_character_at == first


def test_finishing_keeps_text_reason_and_time(make_generation: Make) -> None:
    generation = make_generation(state="running", attempt=1)
    assert services.generation_finish(progress=progress(generation), state="done", reason="length")
    row = fresh(generation)
    assert (row.state, row.finish_reason, row.text, row.has_ended) == (
        "done",
        "length",
        "abc",
        True,
    )
    assert row.finished_at is not None


def test_cancelling_what_waits_is_immediate(make_generation: Make) -> None:
    generation = make_generation()
    services.generation_cancel(generation=generation)
    assert (fresh(generation).state, fresh(generation).finish_reason) == ("cancelled", "cancelled")
    assert services.generation_claim(generation_id=generation.pk, worker_id="w") is None


def test_cancelling_what_runs_asks_its_worker(make_generation: Make) -> None:
    generation = make_generation(state="running", attempt=1)
    services.generation_cancel(generation=generation)
    assert (fresh(generation).state, fresh(generation).cancel_requested) == ("running", True)


@pytest.mark.parametrize("state", ["done", "cancelled", "failed"])
def test_cancelling_what_has_ended_changes_nothing(make_generation: Make, state: str) -> None:
    generation = make_generation(state=state)
    services.generation_cancel(generation=generation)
    assert (fresh(generation).state, fresh(generation).cancel_requested) == (state, False)


def test_requeueing_keeps_what_was_written(make_generation: Make) -> None:
    generation = make_generation(state="running", attempt=1)
    assert services.generation_requeue(progress=progress(generation))
    assert (fresh(generation).state, fresh(generation).text) == ("queued", "abc")


def test_a_delayed_generation_is_sent_by_housekeeping_and_not_at_once(
    make_generation: Make, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    generation = make_generation(state="running", attempt=1)
    assert services.generation_requeue(progress=progress(generation), after=4)
    assert "waits for the broker" not in caplog.text  # the broker is away here
    row = fresh(generation)
    assert row.dispatched_at
    due = row.dispatched_at + timedelta(seconds=settings.DISPATCH_RETRY)
    assert timedelta(seconds=2) < due - clock.now() <= timedelta(seconds=4)
    assert services.generation_requeue(
        progress=progress(make_generation(state="running", attempt=1))
    )
    assert "waits for the broker" in caplog.text


def test_requeueing_a_cancelled_generation_ends_it(make_generation: Make) -> None:
    generation = make_generation(state="running", attempt=1, cancel_requested=True)
    assert services.generation_requeue(progress=progress(generation))
    assert (fresh(generation).state, fresh(generation).text) == ("cancelled", "abc")


def test_a_generation_that_the_model_fails_on_is_tried_three_times(make_generation: Make) -> None:
    generation = make_generation()
    notes = []
    for _ in range(3):
        claimed = services.generation_claim(generation_id=generation.pk, worker_id="w")
        assert claimed is not None
        services.generation_attempt_failed(progress=progress(claimed), error="The model failed.")
        notes.append(fresh(generation).note)
    assert notes[:2] == [
        "The model failed; trying again, 2 of 3",
        "The model failed; trying again, 3 of 3",
    ]
    assert (fresh(generation).state, fresh(generation).error, fresh(generation).attempt) == (
        "failed",
        "The model failed.",
        3,
    )


def test_restarts_of_workers_are_not_failures(make_generation: Make) -> None:
    generation = make_generation()
    for _ in range(5):
        claimed = services.generation_claim(generation_id=generation.pk, worker_id="w")
        assert claimed is not None
        services.generation_requeue(progress=progress(claimed))
    assert (fresh(generation).state, fresh(generation).failures) == ("queued", 0)


def test_a_generation_has_exactly_one_owner(make_generation: Make, django_user_model: Any) -> None:
    with pytest.raises(IntegrityError):
        make_generation(visitor="")


def test_a_user_owns_by_account_and_not_by_visitor_id() -> None:
    assert Owner(user_id=3, visitor="x").fields == {"user_id": 3, "visitor": ""}
