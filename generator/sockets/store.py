"""Reads one generation's log in Redis and its row in the database, for a follower."""

from __future__ import annotations

import asyncio
from uuid import UUID

from generator import selectors
from generator.models import Owner
from generator.redis_store import clients, stream_log
from generator.sockets.follower import Found
from generator.threads import Batched

_rows = Batched(selectors.watched_rows)


class GenerationStore:
    """The `Store` of a generation, as its owner may see it."""

    def __init__(self, owner: Owner, generation_id: UUID) -> None:
        self._owner = owner
        self._id = generation_id

    async def entries(
        self, after: stream_log.Cursor, count: int | None = None
    ) -> list[stream_log.Entry]:
        # A client that leaves does not cut the command short, which would cost the connection.
        read = stream_log.read(clients.shared_client(), self._id, after, count)
        return await asyncio.shield(read)

    async def row(self) -> Found | None:
        return await _rows.get((self._owner, self._id))
