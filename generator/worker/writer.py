"""Takes one text from its claim to its end, or as far as this process gets."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Protocol
from uuid import UUID

from django.conf import settings

from generator import services
from generator.models import Generation
from generator.parameters import Parameters
from generator.versions import files
from generator.worker.outcome import Outcome, Sockets
from generator.worker.writing import Writing, Writings
from ml.engine.engine import Request, Stream
from ml.vocabulary import Vocabulary

DRAIN_PAUSE = 0.3  # seconds
FETCHING = "Fetching the model's files"


class Engine(Protocol):
    """Writes streams with one version; see `ml.engine.engine.Engine`."""

    vocabulary: Vocabulary

    def submit(self, request: Request) -> Stream:
        """Return a stream that is written from now on."""


class Engines(Protocol):
    """Loads engines; see `ml.engine.cache.EngineCache`."""

    def get(self, version_folder: Path, digest: str) -> Engine:
        """Return the engine of the version with this digest. Raises VersionError."""

    def drain(self) -> None:
        """Finish all streams, and those that are submitted later."""


class Frames(Sockets, Protocol):
    """Publishes what streams write; see `generator.worker.publisher.Publisher`."""

    def add(self, writing: Writing) -> None:
        """Publish from now on."""

    def flush(self, writing: Writing) -> None:
        """Publish the rest of a finished stream."""


class Writer:
    """Writes texts; the pool's threads call `write`, each for one text."""

    def __init__(
        self,
        worker_id: str,
        *,
        engines: Engines,
        frames: Frames,
        writings: Writings,
        outcome: Outcome,
        draining: threading.Event,
        drain_pause: float = DRAIN_PAUSE,
    ) -> None:
        self._worker_id = worker_id
        self._engines = engines
        self._frames = frames
        self._writings = writings
        self._outcome = outcome
        self._draining = draining
        self._drain_pause = drain_pause

    def write(self, generation_id: UUID) -> None:
        """Claim a generation, write it and close its row; nothing when it cannot be claimed."""
        if self._draining.is_set():
            # After the pause this process takes no more tasks, so that another worker gets it.
            time.sleep(self._drain_pause)
            services.dispatch(generation_id)
            return
        generation = services.generation_claim(
            generation_id=generation_id, worker_id=self._worker_id
        )
        if generation is None:
            return
        try:
            writing = self._submit(generation, self._engine(generation))
        except Exception as error:  # whatever it is: a claimed row must not stay behind
            self._outcome.not_begun(generation, error)
            return
        try:
            self._frames.add(writing)
            writing.stream.wait()
            self._frames.flush(writing)
            self._outcome.settle(writing)
        finally:
            self._writings.remove(writing)

    def _engine(self, generation: Generation) -> Engine:
        """Return the engine of a generation's version. Its page is told when files are fetched."""
        version = generation.model_version
        if not generation.note and not files.are_here(version):
            self._note(generation, FETCHING)
        engine = self._engines.get(
            files.version_folder(version, stop=self._draining), version.digest
        )
        if generation.note:
            self._note(generation, "")
        return engine

    def _note(self, generation: Generation, note: str) -> None:
        generation.note = note
        services.generation_note(generation=generation, note=note)
        self._frames.changed(generation.pk)

    def _submit(self, generation: Generation, engine: Engine) -> Writing:
        unknown = engine.vocabulary.unknown_characters(generation.prompt)
        if unknown:
            services.generation_note_unknown(generation=generation, characters=unknown)
        asked = Parameters.of(generation)
        request = Request(
            asked.prompt,
            asked.sampling,
            text=generation.text,
            deadline=settings.GENERATION_DEADLINE,
        )
        writing = Writing(generation.pk, generation.attempt, engine.submit(request), unknown)
        self._writings.add(writing)
        if self._draining.is_set():
            self._engines.drain()  # the signal came between claim and submit
        return writing
