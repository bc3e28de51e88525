"""One worker process: it starts what writes texts, tells that it is alive, and stops in order."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from functools import cache, partial
from uuid import UUID

from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connections

from generator import selectors
from generator.versions import files
from generator.worker.frames import RedisOutlet
from generator.worker.outcome import Outcome
from generator.worker.presence import Presence
from generator.worker.publisher import Publisher
from generator.worker.repeat import every, insist
from generator.worker.writer import Writer
from generator.worker.writing import Writings
from ml.engine.cache import EngineCache
from ml.versions.errors import RegistryError, VersionError
from ml.versions.load import load_engine

logger = logging.getLogger(__name__)
SAVE_EVERY = 1.0  # seconds
FAREWELL = 1.0  # seconds a process whose engine died waits for the database to take its leave

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
        worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._engines = EngineCache(
            partial(
                load_engine,
                max_streams=settings.ENGINE_MAX_STREAMS,
                threads=settings.ENGINE_THREADS,
                step=settings.ENGINE_STEP,
                state_bytes=1_000_000 * settings.ENGINE_STATES_MB,
                on_death=self._end_process,
            ),
            size=settings.ENGINE_VERSIONS_LOADED,
        )
        self._draining = threading.Event()
        self._writings = Writings()
        self._loop = asyncio.new_event_loop()
        self._publisher = Publisher(RedisOutlet(), self._loop)
        self._presence = Presence(worker_id, self._draining)
        self._writer = Writer(
            worker_id,
            engines=self._engines,
            frames=self._publisher,
            writings=self._writings,
            outcome=Outcome(self._publisher, self._draining),
            draining=self._draining,
        )
        self._beat_now = threading.Event()
        self._loader: threading.Thread | None = None

    def start(self) -> Callable[[float], bool]:
        """Start publishing, saving and heartbeats, and load the live version.

        Returns at once, with a function that waits for at most so many seconds and tells whether
        texts may now be claimed.
        """
        ready = threading.Event()
        threading.Thread(target=self._loop.run_forever, name="publisher", daemon=True).start()
        self._publisher.start()
        self._publisher.listen(get_channel_layer(), self._writings.cancel)
        every(settings.WORKER_HEARTBEAT, self.heartbeat, self._beat_now)
        every(SAVE_EVERY, self._writings.save)
        self._loader = threading.Thread(
            target=self._prepare, args=(ready,), name="loader", daemon=True
        )
        self._loader.start()
        return ready.wait

    def _prepare(self, ready: threading.Event) -> None:
        try:
            # Before anything is claimed: a claim by a worker without a row counts as lost.
            insist(self.heartbeat)
            insist(self._load_live)
        except Exception:
            logger.exception("the live version cannot be loaded")
        finally:
            connections.close_all()
            ready.set()

    def _load_live(self) -> None:
        """Load the live version, so that the first visitor need not wait for it."""
        if live := selectors.live_version():
            try:
                self._engines.get(files.version_folder(live, stop=self._draining), live.digest)
            except (VersionError, RegistryError) as error:
                logger.error("the live version cannot be loaded: %s", error)

    @property
    def loading(self) -> bool:
        """Whether the live version is still being loaded."""
        return self._loader is not None and self._loader.is_alive()

    def write(self, generation_id: UUID) -> None:
        """Write one generation to its end, or as far as this process gets."""
        self._writer.write(generation_id)

    def consuming(self) -> None:
        """Note that Celery takes tasks; called about every second. Others count on it."""
        if self._presence.consuming():
            self._beat_now.set()

    def heartbeat(self) -> None:
        """Write the heartbeat row, unless it was removed for good."""
        self._presence.beat(
            versions=[engine.digest for engine in self._engines.engines()],
            active=len(self._writings),
        )

    def drain(self) -> None:
        """Stop every stream at its next step; the tasks then save and give back what they hold."""
        self._draining.set()
        self._beat_now.set()
        self._engines.drain()

    def close(self) -> None:
        """Remove the heartbeat row for good."""
        self._presence.leave()

    def _end_process(self, error: BaseException) -> None:
        """End this process, because an engine's thread has died: another takes its streams over."""
        logger.critical(
            "the engine died, this process ends and the supervisor starts a new one", exc_info=error
        )
        # In a thread: a database that is away must not keep the process alive.
        farewell = threading.Thread(target=self.close, daemon=True)
        farewell.start()
        farewell.join(FAREWELL)
        os._exit(os.EX_SOFTWARE)
