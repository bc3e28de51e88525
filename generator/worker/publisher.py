"""Carries new characters to Redis: into each generation's log, then to the sockets that watch it.

One thread with one event loop and one client. It looks at all streams at intervals, so the engine
never waits for it, and what it costs depends on frames, not on characters.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from generator.events import WORKERS_GROUP, CharsFrame, FrameMessage, group_name, parse_cancel
from generator.redis_store import stream_log
from ml.engine.engine import Stream

logger = logging.getLogger(__name__)
INTERVAL = 0.025  # seconds between frames of a stream when few are active
INTERVAL_PER_STREAM = 0.0012  # added for each stream; about 100 ms for 64
FIRST_INTERVAL = 0.004  # while a stream has not shown anything: somebody sits before an empty page
FLUSH_TIMEOUT = 6.0
SEND_TIMEOUT = 2.0
REDIS_PAUSE = 1.0  # seconds between tries to listen while Redis is away


@dataclass(slots=True)
class Writing:
    """A generation that this worker is writing."""

    generation_id: UUID
    attempt: int
    stream: Stream
    unknown_characters: str = ""
    frames: int = field(default=0)

    @property
    def key(self) -> tuple[UUID, int]:
        return self.generation_id, self.attempt

    def next_frame(self) -> CharsFrame | None:
        """Return the characters since the last call as a frame."""
        chunk = self.stream.take()
        if chunk is None:
            return None
        frame: CharsFrame = {
            "type": "chars",
            "offset": chunk.offset,
            "text": chunk.text,
            "surprisal": chunk.surprisal,
        }
        if self.unknown_characters and self.frames == 0:
            frame["unknown_characters"] = self.unknown_characters
        self.frames += 1
        return frame


class Publisher:
    """`add` a writing, and `flush` it before its row is closed."""

    def __init__(self, on_cancel: Callable[[UUID], None]) -> None:
        self._on_cancel = on_cancel
        self._active: dict[tuple[UUID, int], Writing] = {}
        self._loop = asyncio.new_event_loop()
        self._lock = asyncio.Lock()
        self._work = asyncio.Event()
        self._away = False

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._loop.run_forever, name="publisher", daemon=True).start()
        for coroutine in (self._tick(), self._listen()):
            asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def add(self, writing: Writing) -> None:
        """Publish what this writing's stream makes from now on."""
        self._active[writing.key] = writing
        self._loop.call_soon_threadsafe(self._work.set)

    def flush(self, writing: Writing) -> None:
        """Publish the rest of a finished stream, and let go of it. With Redis away the row has to do."""
        self._active.pop(writing.key, None)
        self._wait_for(self._publish([writing]))

    def let_go(self, generation_id: UUID) -> None:
        """Keep the log of an ended generation only for those who are reading it; the row has the text."""
        self._wait_for(stream_log.expire_soon(generation_id))

    def changed(self, generation_id: UUID) -> None:
        """Tell the sockets to read the row."""
        self._wait_for(self._send([(group_name(generation_id), {"type": "generation.changed"})]))

    def _wait_for(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(FLUSH_TIMEOUT)
        except Exception as error:  # whatever it is, the row is still to be closed
            logger.warning("Redis did not take a message, the row has it: %r", error)

    async def _tick(self) -> None:
        """Publish the first characters of each stream at once, and then what all have at intervals."""
        due = 0.0
        while True:
            await self._work.wait()
            somebody_waits = any(not writing.frames for writing in list(self._active.values()))
            await asyncio.sleep(
                FIRST_INTERVAL if somebody_waits else max(0.0, due - self._loop.time())
            )
            writings = list(self._active.values())
            if self._loop.time() >= due:
                due = self._loop.time() + INTERVAL + INTERVAL_PER_STREAM * len(writings)
            else:
                writings = [writing for writing in writings if not writing.frames]
            try:
                await self._publish(writings)
            except Exception:
                logger.exception("publishing failed; the rows carry the texts")
            if not self._active:
                self._work.clear()  # `add` sets it after this, not before: both happen in this loop

    async def _publish(self, writings: list[Writing]) -> None:
        async with self._lock:  # frames of one stream leave in order
            pairs = [(writing, frame) for writing in writings if (frame := writing.next_frame())]
            if not pairs:
                return
            try:
                accepted = await stream_log.append_all(
                    [(writing.generation_id, writing.attempt, frame) for writing, frame in pairs]
                )
            except (RedisError, OSError) as error:
                self._note(error)
                return
            sends: list[tuple[str, FrameMessage]] = []
            for (writing, frame), result in zip(pairs, accepted, strict=True):
                if not result:
                    writing.stream.cancel()  # a later attempt writes this generation
                    continue
                message: FrameMessage = {
                    "type": "generation.frame",
                    "attempt": writing.attempt,
                    "frame": frame,
                }
                sends.append((group_name(writing.generation_id), message))
            await self._send(sends)

    async def _send(self, messages: Sequence[tuple[str, Any]]) -> None:
        """Send messages to their groups, one after the other: the layer has one connection, tasks would only wait for it."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                for group, message in messages:
                    await get_channel_layer().group_send(group, message)
        except (RedisError, OSError, TimeoutError) as error:
            self._note(error)
        else:
            self._away = False

    def _note(self, error: Exception) -> None:
        """Log an outage once, not forty times a second."""
        if not self._away:
            logger.warning("Redis is away, texts go to their rows only: %s", error)
        self._away = True

    async def _listen(self) -> None:
        """Wait for cancels; while Redis is away the checkpoints find them on the rows."""
        layer, channel = get_channel_layer(), ""
        while True:
            try:
                channel = (
                    channel or await layer.new_channel()
                )  # one for good: what a second leaves behind nobody empties
                await layer.group_add(WORKERS_GROUP, channel)
                while True:
                    await self._obey(layer, channel)
            except (RedisError, OSError) as error:
                self._note(error)
            except Exception:
                logger.exception("listening for cancels failed; it is tried again")
            await asyncio.sleep(REDIS_PAUSE)

    async def _obey(self, layer: Any, channel: str) -> None:
        try:
            generation_id = parse_cancel(await layer.receive(channel))
        except (RedisError, OSError):
            raise
        except Exception as error:  # also what the layer cannot read; it is gone, and the row says whether a text must stop
            logger.warning("rejected a message to the workers: %r", error)
            return
        self._on_cancel(generation_id)
