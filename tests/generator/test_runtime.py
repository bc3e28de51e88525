"""What a worker does beside writing: it saves texts, tells that it is alive, and repeats."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection
from django.test.utils import CaptureQueriesContext

from generator import models
from generator.models import Generation
from generator.worker.presence import Presence
from generator.worker.repeat import every, insist
from generator.worker.writing import Writing, Writings
from tests.generator.streams import stream

Make = Callable[..., Generation]


@pytest.fixture
def writings() -> Writings:
    return Writings()


@pytest.fixture
def begin(make_generation: Make, writings: Writings) -> Callable[..., Writing]:
    """A function that has a text written: its row, and its writing."""

    def begin(written: str = "", **fields: Any) -> Writing:
        generation = make_generation(**{"state": "running", "attempt": 1, **fields})
        writings.add(made := Writing(generation.pk, 1, stream(written)))
        return made

    return begin


# Saving.


def test_the_progress_of_all_is_saved_in_one_transaction(
    writings: Writings, begin: Callable[..., Writing]
) -> None:
    texts = [begin("a"), begin("bc"), begin()]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        writings.save()
    begun = [query["sql"] for query in queries if query["sql"].startswith(("BEGIN", "SAVEPOINT"))]
    assert len(begun) == 1
    rows = [Generation.objects.get(pk=text.generation_id) for text in texts]
    assert [row.text for row in rows] == ["a", "bc", ""]
    assert [row.first_character_at is not None for row in rows] == [True, True, False]


def test_without_texts_nothing_is_asked(
    writings: Writings, django_assert_num_queries: Any, db: None
) -> None:
    with django_assert_num_queries(0):
        writings.save()


def test_cancelled_deleted_and_overtaken_texts_stop_and_others_go_on(
    writings: Writings, begin: Callable[..., Writing]
) -> None:
    going_on, cancelled = begin("a"), begin("a", cancel_requested=True)
    deleted, overtaken = begin("a"), begin("a", attempt=2, text="by another worker")
    Generation.objects.filter(pk=deleted.generation_id).delete()
    writings.save()
    assert not going_on.stream.cancelled
    assert [text.stream.cancelled for text in (cancelled, deleted, overtaken)] == [True] * 3
    assert Generation.objects.get(pk=overtaken.generation_id).text == "by another worker"


def test_a_cancel_stops_every_attempt_at_a_text_and_no_other_text(
    writings: Writings, begin: Callable[..., Writing]
) -> None:
    first, other = begin(), begin()
    writings.add(second := Writing(first.generation_id, 2, stream()))
    writings.cancel(first.generation_id)
    assert (first.stream.cancelled, second.stream.cancelled) == (True, True)
    assert not other.stream.cancelled


# Heartbeats.


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Clock:
    return Clock()


@pytest.fixture
def draining() -> threading.Event:
    return threading.Event()


@pytest.fixture
def presence(db: None, time: Clock, draining: threading.Event) -> Presence:
    return Presence("worker", draining, time)


def row(presence: Presence) -> models.Worker | None:
    presence.beat(versions=["d" * 64], active=3)
    return models.Worker.objects.filter(pk="worker").first()


def test_a_heartbeat_tells_what_is_loaded_and_under_way(presence: Presence) -> None:
    seen = row(presence)
    assert seen
    assert (seen.versions_loaded, seen.active_streams, seen.consumes) == (["d" * 64], 3, False)


def test_a_worker_takes_texts_from_celery_s_first_sign_on(presence: Presence) -> None:
    assert presence.consuming(), "worth a heartbeat"
    assert not presence.consuming(), "no news"
    seen = row(presence)
    assert seen
    assert seen.consumes


def test_a_worker_whose_celery_is_silent_for_five_seconds_takes_none(
    presence: Presence, time: Clock
) -> None:
    presence.consuming()
    time.now += 4.9
    assert presence.takes_texts
    time.now += 0.1
    assert not presence.takes_texts


def test_a_worker_that_is_told_to_stop_takes_none(
    presence: Presence, draining: threading.Event
) -> None:
    presence.consuming()
    draining.set()
    assert not presence.takes_texts
    assert not presence.consuming()


def test_a_row_that_was_removed_does_not_come_back(presence: Presence) -> None:
    assert row(presence)
    presence.leave()
    assert row(presence) is None


# Repeating.


class Flaky:
    """Work that raises these errors, one at each call, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.__name__ = "flaky"
        self.called = 0
        self.done = threading.Event()

    def __call__(self) -> None:
        self.called += 1
        if self.errors:
            raise self.errors.pop(0)
        self.done.set()


def test_a_final_row_is_written_however_often_the_database_is_away(db: None) -> None:
    work = Flaky(OperationalError("locked"), DatabaseError("restarting"))
    insist(work, pause=0)
    assert work.called == 3


def test_an_error_that_is_not_the_database_s_ends_the_tries(db: None) -> None:
    work = Flaky(ValueError("a fault"))
    with pytest.raises(ValueError, match="a fault"):
        insist(work, pause=0)
    assert work.called == 1


def test_a_row_is_given_up_after_the_deadline_of_a_text(db: None, settings: Any) -> None:
    settings.GENERATION_DEADLINE = -1
    with pytest.raises(OperationalError):
        insist(Flaky(OperationalError("away")), pause=0)


def test_repeated_work_outlives_its_errors_and_comes_early_when_asked() -> None:
    work, now = Flaky(ValueError("a fault")), threading.Event()
    now.set()
    every(3_600, work, now)
    assert work.done.wait(5)
    assert work.called == 2
