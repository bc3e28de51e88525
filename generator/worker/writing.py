"""The texts that this process is writing: their frames, and their progress on the rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from generator import services
from generator.events import CharsFrame
from generator.services import Progress
from ml.engine.engine import Stream

Key = tuple[UUID, int]  # generation and attempt


@dataclass(slots=True)
class Writing:
    """One attempt at a generation, and the stream that the engine writes for it."""

    generation_id: UUID
    attempt: int
    stream: Stream
    unknown_characters: str = ""  # of the prompt; the first frame tells them
    frames: int = 0  # made so far

    @property
    def key(self) -> Key:
        return self.generation_id, self.attempt

    def next_frame(self) -> CharsFrame | None:
        """Return the characters since the last call as a frame, or None when there are none."""
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

    def progress(self) -> Progress:
        """Return what is written so far, for the row."""
        first = self.stream.first_character_at
        moment = (
            timezone.now() - timedelta(seconds=time.monotonic() - first)
            if first is not None
            else None
        )
        return Progress(self.generation_id, self.attempt, self.stream.text, moment)


class Writings:
    """All writings of this process. Any thread may use it.

    They are kept by attempt, because an attempt that was overtaken may still be ending.
    """

    def __init__(self) -> None:
        self._by_key: dict[Key, Writing] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, writing: Writing) -> None:
        self._by_key[writing.key] = writing

    def remove(self, writing: Writing) -> None:
        self._by_key.pop(writing.key, None)

    def cancel(self, generation_id: UUID) -> None:
        """Stop a generation if it is written here."""
        for writing in list(self._by_key.values()):
            if writing.generation_id == generation_id:
                writing.stream.cancel()

    def save(self) -> None:
        """Save the progress of all in one transaction.

        Stops those that were cancelled, deleted or overtaken by a later attempt.
        """
        rows = [writing.progress() for writing in list(self._by_key.values())]
        if not rows:
            return
        for key in services.generations_save(rows):
            if writing := self._by_key.get(key):
                writing.stream.cancel()
