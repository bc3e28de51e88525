"""What housekeeping does, by the database's clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from generator import clock, heartbeats, services, tasks
from generator.heartbeats import Role
from generator.models import Generation, ModelVersion, Promotion, Worker
from generator.operations import health, housekeeping
from generator.versions import ledger

Make = Callable[..., Generation]


def fresh(generation: Generation) -> Generation:
    return Generation.objects.get(pk=generation.pk)


def heartbeat(worker_id: str, *, age: float) -> None:
    heartbeats.heartbeat(
        worker_id=worker_id, role=Role.WORKER, host="h", pid=1, versions=[], active=0, consumes=True
    )
    Worker.objects.filter(pk=worker_id).update(last_seen=F("last_seen") - timedelta(seconds=age))


def test_the_texts_of_a_silent_worker_are_queued_again(make_generation: Make) -> None:
    heartbeat("alive", age=1)
    heartbeat("silent", age=30)
    held = make_generation(state="running", attempt=1, worker_id="alive")
    lost = make_generation(state="running", attempt=1, worker_id="silent", text="so far")
    orphan = make_generation(state="running", attempt=1, worker_id="never seen")
    assert housekeeping.requeue_lost() == 2
    assert [fresh(row).state for row in (held, lost, orphan)] == ["running", "queued", "queued"]
    assert fresh(lost).text == "so far"


def test_a_cancelled_text_of_a_silent_worker_ends(make_generation: Make) -> None:
    lost = make_generation(
        state="running", attempt=1, worker_id="gone", cancel_requested=True, text="so far"
    )
    housekeeping.requeue_lost()
    assert (fresh(lost).state, fresh(lost).text) == ("cancelled", "so far")


def test_without_a_broker_nothing_counts_as_sent_again(make_generation: Make) -> None:
    long_ago = timezone.now() - timedelta(seconds=60)
    generation = make_generation(dispatched_at=long_ago)
    assert housekeeping.send_again() == 0
    assert fresh(generation).dispatched_at == long_ago


def test_a_text_that_has_lost_too_many_workers_fails(make_generation: Make, settings: Any) -> None:
    lost = make_generation(
        state="running", attempt=settings.GENERATION_MAX_ATTEMPTS, worker_id="gone", text="so far"
    )
    housekeeping.requeue_lost()
    assert (fresh(lost).state, fresh(lost).text) == ("failed", "so far")
    assert "lost" in fresh(lost).error


def test_a_cancelled_text_in_the_queue_ends_unwritten(make_generation: Make) -> None:
    generation = make_generation(cancel_requested=True)
    assert services.generation_claim(generation_id=generation.pk, worker_id="w") is None
    housekeeping.send_again()
    assert fresh(generation).state == "cancelled"


def test_rows_of_workers_that_ended_long_ago_are_removed(db: None) -> None:
    heartbeat("old", age=7200)
    heartbeat("new", age=60)
    heartbeats.forget_silent()
    assert list(Worker.objects.values_list("pk", flat=True)) == ["new"]


@pytest.fixture
def wrong_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that sets this machine's clock ahead, but not the database's."""
    right = timezone.now

    def put(seconds: float) -> None:
        monkeypatch.setattr(timezone, "now", lambda: right() + timedelta(seconds=seconds))

    return put


def test_all_cancelled_texts_that_wait_end_together(make_generation: Make) -> None:
    rows = [make_generation(cancel_requested=True) for _ in range(5)]
    housekeeping.send_again()
    assert {fresh(row).state for row in rows} == {"cancelled"}


def test_all_cancelled_texts_of_a_silent_worker_end_together(make_generation: Make) -> None:
    rows = [
        make_generation(state="running", attempt=1, worker_id="gone", cancel_requested=True)
        for _ in range(5)
    ]
    housekeeping.requeue_lost()
    assert {fresh(row).state for row in rows} == {"cancelled"}


@pytest.mark.parametrize("seconds", [-3_600, -12, 12, 3_600])
def test_a_worker_whose_clock_is_wrong_keeps_its_texts(
    make_generation: Make, wrong_clock: Callable[[float], None], seconds: float
) -> None:
    wrong_clock(seconds)
    heartbeat("w", age=0)
    wrong_clock(0)
    held = make_generation(state="running", attempt=1, worker_id="w")
    assert housekeeping.requeue_lost() == 0
    assert fresh(held).state == "running"
    assert health.worker().ok


@pytest.mark.parametrize("seconds", [-3_600, 0, 3_600])
def test_a_worker_whose_clock_is_wrong_is_missed_when_it_dies(
    make_generation: Make, wrong_clock: Callable[[float], None], settings: Any, seconds: float
) -> None:
    wrong_clock(seconds)
    heartbeat("w", age=settings.WORKER_SILENT + 1)
    wrong_clock(0)
    held = make_generation(state="running", attempt=1, worker_id="w")
    assert housekeeping.requeue_lost() == 1
    assert fresh(held).state == "queued"
    assert not health.worker().ok


@pytest.mark.parametrize("seconds", [-3_600, 3_600])
def test_a_switch_asked_for_by_a_wrong_clock_is_not_lost(
    live: ModelVersion, wrong_clock: Callable[[float], None], seconds: float
) -> None:
    wrong_clock(seconds)
    Promotion.objects.create(to_version=live)
    wrong_clock(0)
    assert ledger.promotions_open()
    Promotion.objects.update(
        created_at=F("created_at") - ledger.PROMOTION_TIMEOUT - timedelta(seconds=1)
    )
    assert not ledger.promotions_open()


def test_now_agrees_with_the_clock_of_queries(db: None) -> None:
    before = clock.now()
    heartbeat("w", age=0)
    seen = Worker.objects.get().last_seen
    assert before <= seen <= clock.now()
    assert before.tzinfo is not None


def test_the_first_heartbeat_makes_a_row_and_later_ones_change_it(db: None) -> None:
    beat = {"worker_id": "w", "role": Role.WORKER, "host": "h", "pid": 1, "active": 0}
    heartbeats.heartbeat(**beat, versions=[], consumes=False)
    began = Worker.objects.get().started_at
    heartbeats.heartbeat(**beat, versions=["a"], consumes=True)
    row = Worker.objects.get()
    assert (row.started_at, row.versions_loaded, row.consumes) == (began, ["a"], True)
    heartbeats.gone(worker_id="w")
    assert not Worker.objects.exists()


def test_ticks_that_piled_up_count_as_one(db: None) -> None:
    tasks._last_look[0] = -tasks.TICKS_APART
    tasks.requeue()
    seen = Worker.objects.get().last_seen
    for _ in range(100):
        tasks.requeue()
    assert Worker.objects.get().last_seen == seen
