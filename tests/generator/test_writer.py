"""One text from claim to end: what its row says after each way to end, and after none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as site

from generator import clock
from generator.models import Generation, ModelVersion
from generator.versions import mirror
from generator.worker.outcome import Outcome
from generator.worker.writer import FETCHING, Writer
from generator.worker.writing import Writing, Writings
from ml.engine.engine import FinishReason, Request, Stream
from ml.versions.errors import VersionError
from ml.vocabulary import UNKNOWN, Vocabulary
from tests.generator.streams import write

Make = Callable[..., Generation]


@dataclass
class Engine:
    """Writes `text` into each stream at once, and ends it."""

    text: str = "abc"
    reason: FinishReason = FinishReason.LENGTH
    error: str | None = None
    vocabulary: Vocabulary = field(default_factory=lambda: Vocabulary(UNKNOWN + "\n Once"))
    requests: list[Request] = field(default_factory=list)

    def submit(self, request: Request) -> Stream:
        self.requests.append(request)
        stream = Stream(request)
        write(stream, self.text)
        stream.finish(self.reason, self.error)
        return stream


@dataclass
class Engines:
    """Has one engine, or an error in its place."""

    engine: Engine | Exception
    drained: bool = False
    while_loading: Callable[[], None] = lambda: None

    def get(self, version_folder: Path, digest: str) -> Engine:
        self.while_loading()
        if isinstance(self.engine, Exception):
            raise self.engine
        return self.engine

    def drain(self) -> None:
        self.drained = True


class Page:
    """A page that watches every text: what happened to its socket, and what it then read."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.notes: list[str] = []

    def add(self, writing: Writing) -> None:
        self.seen.append("add")

    def flush(self, writing: Writing) -> None:
        assert writing.stream.finished.is_set()
        self.seen.append("flush")

    def let_go(self, generation_id: UUID) -> None:
        self.seen.append("let go")

    def changed(self, generation_id: UUID) -> None:
        row = Generation.objects.get(pk=generation_id)
        self.seen.append(row.state)
        self.notes.append(row.note)


class Worker:
    """A writer with all that it works with; nothing waits."""

    def __init__(self, engine: Engine | Exception) -> None:
        self.engines, self.page, self.writings = Engines(engine), Page(), Writings()
        self.draining = threading.Event()
        self._writer = Writer(
            "worker",
            engines=self.engines,
            frames=self.page,
            writings=self.writings,
            outcome=Outcome(self.page, self.draining, signal_lag=0),
            draining=self.draining,
            drain_pause=0,
        )

    def write(self, generation: Generation) -> Generation:
        """Write a text; return its row."""
        self._writer.write(generation.pk)
        assert len(self.writings) == 0
        return Generation.objects.get(pk=generation.pk)


@pytest.fixture
def files_here(live: ModelVersion, settings: Any, tmp_path: Path) -> None:
    settings.VERSIONS_DIR = tmp_path
    (tmp_path / live.digest).symlink_to(site.BUNDLED_MODELS_DIR / "1-early")


@pytest.fixture
def files_missing(live: ModelVersion, settings: Any, tmp_path: Path) -> Callable[[str], None]:
    """A function that remembers a fetch which failed for a reason, "" for one that may pass."""
    settings.VERSIONS_DIR = tmp_path

    def missing(reason: str) -> None:
        mirror.files_missing(version=live, reason=reason, retry_after=timedelta(hours=1))

    return missing


# Ends.


@pytest.mark.usefixtures("files_here")
@pytest.mark.parametrize(
    ("reason", "state", "error"),
    [
        (FinishReason.LENGTH, "done", ""),
        (FinishReason.STOP, "done", ""),
        (FinishReason.CANCELLED, "cancelled", ""),
        (FinishReason.DEADLINE, "failed", "Writing took longer than 600 s."),
    ],
)
def test_a_text_ends_as_its_stream_did(
    make_generation: Make, reason: FinishReason, state: str, error: str
) -> None:
    worker = Worker(Engine("abc", reason))
    row = worker.write(make_generation())
    assert (row.text, row.state, row.finish_reason, row.error) == ("abc", state, reason, error)
    assert row.finished_at
    assert worker.page.seen == ["add", "flush", "let go", state], "the row is closed last"


@pytest.mark.usefixtures("files_here")
def test_a_drained_text_goes_back_with_every_character_and_on_from_there(
    make_generation: Make,
) -> None:
    generation = make_generation()
    stopping, next_engine = Worker(Engine("abc", FinishReason.DRAINED)), Engine("de")
    row = stopping.write(generation)
    assert (row.state, row.text, row.failures, row.note) == ("queued", "abc", 0, "")
    assert stopping.page.seen == ["add", "flush", "queued"], "its log stays"
    row = Worker(next_engine).write(generation)
    assert (row.state, row.text, row.attempt) == ("done", "abcde", 2)
    assert next_engine.requests[0].text == "abc"


@pytest.mark.usefixtures("files_here")
def test_a_text_that_the_model_fails_on_is_tried_three_times(make_generation: Make) -> None:
    generation = make_generation()
    worker = Worker(Engine("a", FinishReason.ERROR, "not a finite number"))
    row = worker.write(generation)
    assert (row.state, row.text, row.failures) == ("queued", "a", 1)
    assert worker.write(generation).failures == 2
    row = worker.write(generation)
    assert (row.state, row.text, row.error) == ("failed", "aaa", "The model failed on this text.")
    assert [note for note in worker.page.notes if note][:2] == [
        "The model failed on this text; trying again, 2 of 3",
        "The model failed on this text; trying again, 3 of 3",
    ]


# Claims.


@pytest.mark.usefixtures("files_here")
@pytest.mark.parametrize(
    "fields", [{"state": "running", "attempt": 1}, {"state": "done"}, {"cancel_requested": True}]
)
def test_what_cannot_be_claimed_is_left_alone(
    make_generation: Make, fields: dict[str, Any]
) -> None:
    engine = Engine()
    worker, generation = Worker(engine), make_generation(**fields)
    assert worker.write(generation).state == generation.state
    assert (engine.requests, worker.page.seen) == ([], [])


@pytest.mark.usefixtures("files_here")
def test_a_worker_that_is_stopping_claims_nothing_and_passes_the_message_on(
    make_generation: Make, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(Engine())
    worker.draining.set()
    row = worker.write(make_generation())
    assert (row.state, row.attempt) == ("queued", 0)
    assert "waits for the broker" in caplog.text, "which is away here, and was asked"


@pytest.mark.usefixtures("files_here")
def test_a_stop_between_claim_and_submit_reaches_the_stream(make_generation: Make) -> None:
    worker = Worker(Engine("", FinishReason.DRAINED))
    worker.engines.while_loading = worker.draining.set
    assert worker.write(make_generation()).state == "queued"
    assert worker.engines.drained


@pytest.mark.usefixtures("files_here")
def test_characters_that_the_model_does_not_know_are_on_the_row(make_generation: Make) -> None:
    assert Worker(Engine()).write(make_generation(prompt="Once é")).unknown_characters == "é"


# What cannot begin.


def test_missing_files_are_told_and_tried_again_later(
    make_generation: Make,
    files_missing: Callable[[str], None],
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    files_missing("")
    worker = Worker(Engine())
    row = worker.write(make_generation())
    assert (row.state, row.failures) == ("queued", 1)
    assert worker.page.notes == [
        FETCHING,
        "The model's files cannot be fetched right now; trying again, 2 of 3",
    ]
    assert "waits for the broker" not in caplog.text, "housekeeping sends it, and nobody at once"
    assert row.dispatched_at
    due = row.dispatched_at + timedelta(seconds=settings.DISPATCH_RETRY)
    assert due - clock.now() <= timedelta(seconds=settings.FETCH_FAILED_KEPT)


@pytest.mark.usefixtures("files_here")
def test_a_note_is_taken_back_when_an_engine_is_there(make_generation: Make) -> None:
    worker = Worker(Engine())
    row = worker.write(make_generation(note="The model's files cannot be fetched right now."))
    assert (row.note, worker.page.notes[0]) == ("", "")


def test_files_that_are_refused_end_the_text(
    make_generation: Make, files_missing: Callable[[str], None]
) -> None:
    files_missing("its hash is another")
    worker = Worker(Engine())
    row = worker.write(make_generation())
    assert (row.state, row.finish_reason) == ("failed", "error")
    assert row.error == "The files of version 1 are missing or damaged."
    assert worker.page.seen[-1] == "failed"


def test_a_stop_while_files_are_fetched_is_no_failure(
    make_generation: Make, files_missing: Callable[[str], None]
) -> None:
    files_missing("the fetch was ended")
    worker = Worker(Engine())
    worker.page.changed = lambda _: worker.draining.set()  # type: ignore[method-assign]
    row = worker.write(make_generation(text="abc"))
    assert (row.state, row.text, row.failures) == ("queued", "abc", 0)


@pytest.mark.usefixtures("files_here")
@pytest.mark.parametrize(
    ("error", "state", "told"),
    [
        (VersionError("/srv/x"), "failed", "The files of version 1 are missing or dam"),
        (MemoryError("/srv/x"), "queued", "The model could not start on this text; trying again"),
    ],
)
def test_an_engine_that_does_not_load_is_told_without_a_path(
    make_generation: Make,
    error: Exception,
    state: str,
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    row = Worker(error).write(make_generation())
    assert row.state == state
    assert (row.error or row.note).startswith(told)
    assert "/srv/x" in caplog.text
    assert "/srv" not in row.error + row.note
