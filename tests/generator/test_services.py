"""State changes are conditional: of two that compete, one finds no row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from generator import services
from generator.models import Generation, Owner, Worker
from generator.services import Progress

Make = Callable[..., Generation]


def progress(generation: Generation, text: str = "abc", attempt: int | None = None) -> Progress:
    return Progress(generation.pk, generation.attempt if attempt is None else attempt, text, timezone.now())


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
    assert services.generation_claim(generation_id=make_generation(state=state).pk, worker_id="w") is None


def test_a_stale_attempt_writes_nothing(make_generation: Make) -> None:
    generation = make_generation(state="running", attempt=2, text="kept")
    stale = progress(generation, "stale", attempt=1)
    assert services.generations_checkpoint([stale]) == {(generation.pk, 1)}
    assert not services.generation_finish(progress=stale, state="done", reason="length")
    assert not services.generation_requeue(progress=stale)
    assert (fresh(generation).text, fresh(generation).state) == ("kept", "running")


def test_a_checkpoint_saves_and_tells_what_must_stop(make_generation: Make) -> None:
    going, cancelled = (make_generation(state="running", attempt=1) for _ in range(2))
    Generation.objects.filter(pk=cancelled.pk).update(cancel_requested=True)
    assert services.generations_checkpoint([progress(going), progress(cancelled)]) == {(cancelled.pk, 1)}
    assert fresh(going).text == "abc"


def test_the_first_character_keeps_its_moment_over_attempts(make_generation: Make) -> None:
    generation = make_generation(state="running", attempt=1)
    first = timezone.now() - timedelta(seconds=9)
    services.generations_checkpoint([Progress(generation.pk, 1, "a", first)])
    services.generations_checkpoint([progress(generation)])
    assert fresh(generation).first_character_at == first


def test_finishing_keeps_text_reason_and_time(make_generation: Make) -> None:
    generation = make_generation(state="running", attempt=1)
    assert services.generation_finish(progress=progress(generation), state="done", reason="length")
    row = fresh(generation)
    assert (row.state, row.finish_reason, row.text, row.has_ended) == ("done", "length", "abc", True)
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


def heartbeat(worker_id: str, *, age: float) -> None:
    services.worker_heartbeat(worker_id=worker_id, host="h", pid=1, versions=[], active=0)
    Worker.objects.filter(pk=worker_id).update(last_seen=timezone.now() - timedelta(seconds=age))


def test_what_a_silent_worker_held_is_queued_again(make_generation: Make) -> None:
    heartbeat("alive", age=1)
    heartbeat("silent", age=30)
    held = make_generation(state="running", attempt=1, worker_id="alive")
    lost = make_generation(state="running", attempt=1, worker_id="silent", text="so far")
    orphan = make_generation(state="running", attempt=1, worker_id="never seen")
    assert services.generations_requeue_lost() == 2
    assert [fresh(row).state for row in (held, lost, orphan)] == ["running", "queued", "queued"]
    assert fresh(lost).text == "so far"


def test_a_cancelled_one_of_a_silent_worker_ends(make_generation: Make) -> None:
    lost = make_generation(state="running", attempt=1, worker_id="gone", cancel_requested=True, text="so far")
    services.generations_requeue_lost()
    assert (fresh(lost).state, fresh(lost).text) == ("cancelled", "so far")


def test_giving_back_queues_what_was_written(make_generation: Make) -> None:
    generation = make_generation(state="running", attempt=1)
    assert services.generation_requeue(progress=progress(generation))
    assert (fresh(generation).state, fresh(generation).text) == ("queued", "abc")


def test_giving_back_a_cancelled_one_ends_it(make_generation: Make) -> None:
    generation = make_generation(state="running", attempt=1, cancel_requested=True)
    assert services.generation_requeue(progress=progress(generation))
    assert (fresh(generation).state, fresh(generation).text) == ("cancelled", "abc")


def test_without_a_broker_nothing_counts_as_sent_again(make_generation: Make) -> None:
    long_ago = timezone.now() - timedelta(seconds=60)
    generation = make_generation(dispatched_at=long_ago)
    assert services.generations_send_again() == 0
    assert fresh(generation).dispatched_at == long_ago


def test_a_generation_that_its_workers_do_not_survive_fails_in_the_end(make_generation: Make, settings: Any) -> None:
    lost = make_generation(state="running", attempt=settings.GENERATION_MAX_ATTEMPTS, worker_id="gone", text="so far")
    services.generations_requeue_lost()
    assert (fresh(lost).state, fresh(lost).text) == ("failed", "so far")
    assert "lost" in fresh(lost).error


def test_a_generation_that_the_model_fails_in_is_tried_three_times(make_generation: Make) -> None:
    generation = make_generation()
    notes = []
    for _ in range(3):
        claimed = services.generation_claim(generation_id=generation.pk, worker_id="w")
        assert claimed is not None
        services.generation_attempt_failed(progress=progress(claimed), error="The model failed.")
        notes.append(fresh(generation).note)
    assert notes[:2] == ["The model failed; trying again, 2 of 3", "The model failed; trying again, 3 of 3"]
    assert (fresh(generation).state, fresh(generation).error, fresh(generation).attempt) == ("failed", "The model failed.", 3)


def test_restarts_of_workers_are_no_failures(make_generation: Make) -> None:
    generation = make_generation()
    for _ in range(5):
        claimed = services.generation_claim(generation_id=generation.pk, worker_id="w")
        assert claimed is not None
        services.generation_requeue(progress=progress(claimed))
    assert (fresh(generation).state, fresh(generation).failures) == ("queued", 0)


def test_a_cancel_that_was_asked_for_is_not_forgotten_in_the_queue(make_generation: Make) -> None:
    generation = make_generation(cancel_requested=True)
    assert services.generation_claim(generation_id=generation.pk, worker_id="w") is None
    services.generations_send_again()
    assert fresh(generation).state == "cancelled"


def test_rows_of_workers_long_gone_are_removed(db: None) -> None:
    heartbeat("old", age=7200)
    heartbeat("new", age=60)
    services.workers_forget_silent()
    assert list(Worker.objects.values_list("pk", flat=True)) == ["new"]


def test_a_generation_has_exactly_one_owner(make_generation: Make, django_user_model: Any) -> None:
    with pytest.raises(IntegrityError):
        make_generation(visitor="")


def test_a_user_owns_by_account_and_not_by_visitor_id() -> None:
    assert Owner(user_id=3, visitor="x").fields == {"user_id": 3, "visitor": ""}
