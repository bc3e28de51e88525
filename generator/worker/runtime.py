"""One worker process: it claims generations, has engines write them, saves as it goes, and gives back what it cannot end."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connections
from django.utils import timezone

from generator import heartbeats, selectors, services
from generator.database import passing
from generator.models import Generation
from generator.parameters import Parameters
from generator.services import Progress
from generator.versions import files
from generator.worker.publisher import Publisher, Writing
from ml.engine.cache import EngineCache
from ml.engine.engine import Engine, FinishReason, Request
from ml.versions.errors import NotInRegistry, RegistryError, VersionError, VersionRefused
from ml.versions.load import load_engine

logger = logging.getLogger(__name__)
CHECKPOINT_EVERY = 1.0  # seconds
DRAIN_PAUSE = 0.3  # seconds
SIGNAL_LAG = 0.2  # seconds in which a stop that ended a child first is heard of here
CONSUMES_SILENT = (
    5.0  # seconds without a sign of Celery's loop after which it counts as not taking tasks
)
FAREWELL = 1.0  # seconds a process that is lost waits for the database to hear of it
FETCHING = "Fetching the model's files"
State = Generation.State
ENDS = {
    FinishReason.LENGTH: State.DONE,
    FinishReason.STOP: State.DONE,
    FinishReason.CANCELLED: State.CANCELLED,
    FinishReason.DEADLINE: State.FAILED,
}


_making = threading.Lock()


@cache
def _made() -> Runtime:
    return Runtime()


def runtime() -> Runtime:
    """Return this process's runtime; several threads may ask for it at once."""
    with _making:
        return _made()


class Runtime:
    """Started once a process; `write` runs in the pool's threads."""

    def __init__(self) -> None:
        self.worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._engines = EngineCache(
            partial(
                load_engine,
                max_streams=settings.ENGINE_MAX_STREAMS,
                threads=settings.ENGINE_THREADS,
                step=settings.ENGINE_STEP,
                on_death=self._end_process,
            ),
            size=settings.ENGINE_VERSIONS_LOADED,
        )
        self._publisher = Publisher(self.cancel)
        self._writings: dict[
            tuple[UUID, int], Writing
        ] = {}  # by attempt: an overtaken one may still be ending
        self._draining = threading.Event()
        self._row = (
            threading.Lock()
        )  # a heartbeat that is under way must not write the row again once it is removed
        self._gone = False
        self._beat_now = threading.Event()
        self._consumed_at = -CONSUMES_SILENT
        self._loader: threading.Thread | None = None

    def start(self) -> Callable[[float], bool]:
        """Start publishing, checkpoints and heartbeats, and load the live version so that the first visitor need not wait.

        Returns at once. What is returned waits for so many seconds and tells whether texts may now
        be claimed.
        """
        ready = threading.Event()
        self._publisher.start()
        self._every(settings.WORKER_HEARTBEAT, self._heartbeat, self._beat_now)
        self._every(CHECKPOINT_EVERY, self._checkpoint)
        self._loader = threading.Thread(
            target=self._prepare, args=(ready,), name="loader", daemon=True
        )
        self._loader.start()
        return ready.wait

    def _prepare(self, ready: threading.Event) -> None:
        try:
            _insist(
                self._heartbeat
            )  # before anything is claimed: a claim by a worker without a row counts as lost
            _insist(self._load_live)
        except Exception:
            logger.exception("the live version cannot be loaded")
        finally:
            connections.close_all()
            ready.set()

    def _load_live(self) -> None:
        if live := selectors.live_version():
            try:
                self._engines.get(files.version_folder(live, stop=self._draining), live.digest)
            except (VersionError, RegistryError) as error:
                logger.error("the live version cannot be loaded: %s", error)

    def _every(
        self, seconds: float, work: Callable[[], None], now: threading.Event | None = None
    ) -> None:
        """Do something at intervals, and when `now` is set."""
        now = now or threading.Event()

        def loop() -> None:
            while True:
                close_old_connections()
                try:
                    work()
                except Exception as error:
                    if passing(error):
                        logger.warning("%s: the database is busy or away: %s", work.__name__, error)
                    else:
                        logger.exception("%s failed; it is tried again", work.__name__)
                now.wait(seconds)
                now.clear()

        threading.Thread(target=loop, name=work.__name__, daemon=True).start()

    def write(self, generation_id: UUID) -> None:
        """Write one generation to its end, or as far as this process gets."""
        if self._draining.is_set():
            time.sleep(
                DRAIN_PAUSE
            )  # by then this process takes no more tasks, and another worker gets it
            services.dispatch(generation_id)
            return
        generation = services.generation_claim(
            generation_id=generation_id, worker_id=self.worker_id
        )
        if generation is None:
            return
        try:
            writing = self._submit(generation, self._engine(generation))
        except Exception as error:  # whatever it is: a claimed row must not stay behind
            self._not_begun(generation, error)
            return
        try:
            self._publisher.add(writing)
            writing.stream.wait()
            self._publisher.flush(writing)
            self._settle(writing)
        finally:
            self._writings.pop(writing.key, None)

    def _engine(self, generation: Generation) -> Engine:
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
        self._publisher.changed(generation.pk)

    def _not_begun(self, generation: Generation, error: Exception) -> None:
        """Give back a generation that no engine could begin, or end it when another try would find the same.

        The log says what happened; whoever reads the page is told what it means, without a path of
        this machine.
        """
        known = isinstance(error, VersionError | RegistryError)
        logger.error(
            "generation %s cannot be written: %s", generation.pk, error, exc_info=not known
        )
        progress = _nothing_new(generation)
        number = generation.model_version.version
        if self._draining.wait(
            SIGNAL_LAG
        ):  # no fault of the model: what was to fetch or load it was stopped, too
            _insist(lambda: services.generation_requeue(progress=progress))
            self._publisher.changed(generation.pk)
        elif isinstance(error, NotInRegistry):
            self._fail(progress, f"Version {number} is not in the registry.")
        elif isinstance(error, VersionError | VersionRefused):
            self._fail(
                progress, f"The files of version {number} are missing or not as they should be."
            )
        elif known:
            self._give_back(
                progress, "The model's files cannot be had now.", settings.FETCH_FAILED_KEPT
            )
        else:
            self._give_back(progress, "The model could not start on this text.")

    def _fail(self, progress: Progress, error: str) -> None:
        _insist(
            lambda: services.generation_finish(
                progress=progress, state=State.FAILED, reason="error", error=error
            )
        )
        self._publisher.changed(progress.generation_id)

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
        self._writings[writing.key] = writing
        if self._draining.is_set():
            self._engines.drain()  # the signal came between claim and submit
        return writing

    def _settle(self, writing: Writing) -> None:
        """Close the row of a finished stream, or give it back."""
        progress, reason = _progress(writing), writing.stream.reason
        if reason is FinishReason.DRAINED:
            _insist(lambda: services.generation_requeue(progress=progress))
        elif reason is FinishReason.ERROR:
            logger.error(
                "generation %s: the model failed: %s", writing.generation_id, writing.stream.error
            )
            return self._give_back(progress, "The model failed on this text.")
        else:
            state = ENDS[reason] if reason else State.FAILED
            error = (
                f"Writing took longer than {settings.GENERATION_DEADLINE} s."
                if state == State.FAILED
                else ""
            )
            _insist(
                lambda: services.generation_finish(
                    progress=progress, state=state, reason=str(reason), error=error
                )
            )
            self._publisher.let_go(writing.generation_id)
        self._publisher.changed(writing.generation_id)

    def _give_back(self, progress: Progress, error: str, after: float = 0) -> None:
        _insist(
            lambda: services.generation_attempt_failed(progress=progress, error=error, after=after)
        )
        self._publisher.changed(progress.generation_id)

    def cancel(self, generation_id: UUID) -> None:
        """Stop a generation if it is written here."""
        for writing in list(self._writings.values()):
            if writing.generation_id == generation_id:
                writing.stream.cancel()

    def _checkpoint(self) -> None:
        rows = [_progress(writing) for writing in list(self._writings.values())]
        if rows:
            for key in services.generations_save(rows):
                if writing := self._writings.get(key):
                    writing.stream.cancel()

    def consuming(self) -> None:
        """Be told, about every second, that Celery takes tasks. Unless it is, nobody should count on this worker."""
        if not self._consumes:
            self._beat_now.set()
        self._consumed_at = time.monotonic()

    @property
    def _consumes(self) -> bool:
        return (
            not self._draining.is_set() and time.monotonic() - self._consumed_at < CONSUMES_SILENT
        )

    def _heartbeat(self) -> None:
        with self._row:
            if self._gone:
                return
            heartbeats.heartbeat(
                worker_id=self.worker_id,
                role=heartbeats.Role.WORKER,
                host=socket.gethostname(),
                pid=os.getpid(),
                versions=[engine.digest for engine in self._engines.engines()],
                active=len(self._writings),
                consumes=self._consumes,
            )

    def drain(self) -> None:
        """Stop every stream at its next step; the tasks then save and requeue what they hold."""
        self._draining.set()
        self._beat_now.set()
        self._engines.drain()

    def close(self) -> None:
        """Say good-bye: the heartbeat row goes, so that nobody waits for it to grow old."""
        with self._row:
            self._gone = True
            heartbeats.gone(worker_id=self.worker_id)

    @property
    def loading(self) -> bool:
        """Whether the live version is still being loaded."""
        return self._loader is not None and self._loader.is_alive()

    def _end_process(self, error: BaseException) -> None:
        """An engine thread has died: its streams are lost to this process, so another takes over."""
        logger.critical(
            "the engine died, this process ends and the supervisor starts a new one", exc_info=error
        )
        farewell = threading.Thread(
            target=self.close, daemon=True
        )  # a database that is away must not keep it alive
        farewell.start()
        farewell.join(FAREWELL)
        os._exit(os.EX_SOFTWARE)


def _insist(write: Callable[[], object]) -> None:
    """Write a final row, also through a database that is locked or restarting; after that the row is given up as lost."""
    give_up = time.monotonic() + settings.GENERATION_DEADLINE
    while True:
        try:
            write()
            return
        except DatabaseError as error:
            if time.monotonic() > give_up:
                raise
            logger.warning("a final row cannot be written yet: %s", error)
            close_old_connections()
            time.sleep(1)


def _nothing_new(generation: Generation) -> Progress:
    return Progress(generation.pk, generation.attempt, generation.text, None)


def _progress(writing: Writing) -> Progress:
    first = writing.stream.first_character_at
    moment = (
        timezone.now() - timedelta(seconds=time.monotonic() - first) if first is not None else None
    )
    return Progress(writing.generation_id, writing.attempt, writing.stream.text, moment)
