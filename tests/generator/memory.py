"""A generation's row and log in memory, for tests of those who read them."""

from __future__ import annotations

from typing import Any

from django.db import OperationalError
from redis.exceptions import ConnectionError as RedisAway

from generator.events import CharsFrame, FrameMessage
from generator.models import Generation
from generator.redis_store.stream_log import Cursor, Entry
from generator.sockets.follower import Found

TEXT = "It was the best of times, it was the worst of times"


def chars(offset: int, end: int, text: str = TEXT) -> CharsFrame:
    piece = text[offset:end]
    return {"type": "chars", "offset": offset, "text": piece, "surprisal": [1.0] * len(piece)}


def live(offset: int, end: int, attempt: int = 1) -> FrameMessage:
    return {"type": "generation.frame", "attempt": attempt, "frame": chars(offset, end)}


class Memory:
    """A row and a log; None stands for a row that was deleted, `away` for servers that are away."""

    def __init__(self, text: str = "", **fields: Any) -> None:
        self.generation: Generation | None = Generation(text=text, state="running", **fields)
        self.place: int | None = None
        self.log: list[Entry] = []
        self.redis_away = self.database_away = False

    def write(self, offset: int, end: int, attempt: int = 1) -> None:
        self.log.append((attempt, chars(offset, end)))

    async def entries(self, after: Cursor, count: int | None = None) -> list[Entry]:
        if self.redis_away:
            raise RedisAway
        mark = (after.attempt, after.offset)
        return [entry for entry in self.log if (entry[0], entry[1]["offset"]) > mark][:count]

    async def row(self) -> Found | None:
        if self.database_away:
            raise OperationalError from Locked()
        return (self.generation, self.place) if self.generation else None


class Locked(Exception):
    sqlite_errorname = "SQLITE_BUSY"
