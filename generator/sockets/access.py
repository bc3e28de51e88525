"""Who may watch a generation: looked up when a watch begins, and again while it lasts."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.db import DatabaseError

from generator import selectors, services
from generator.database import passing
from generator.models import Owner
from generator.owners import socket_owner
from generator.sockets.follower import Found
from generator.sockets.watch import End
from generator.threads import in_thread


def look(cookies: dict[str, str], generation_id: str) -> tuple[Owner | None, Found | None]:
    """Return who asks, and their generation with its place in the queue.

    None stands for an unknown owner, and for a generation that is not theirs or whose id is no id.
    """
    owner = socket_owner(cookies)
    if owner is None:
        return None, None
    try:
        wanted = owner, UUID(generation_id)
    except ValueError:
        return owner, None
    return owner, selectors.watched_rows([wanted]).get(wanted)


class OwnerAccess:
    """The `Access` of an owner to one of their generations.

    `current_owner` runs in a thread. It reads the owner anew, since a watch outlives a sign-out.
    """

    def __init__(
        self, owner: Owner, generation_id: UUID, current_owner: Callable[[], Owner | None]
    ) -> None:
        self._owner = owner
        self._id = generation_id
        self._current_owner = current_owner

    async def lost(self) -> End | None:
        if await in_thread(self._current_owner)() != self._owner:
            return End.SIGNED_OUT
        if not await in_thread(selectors.generation_exists)(self._owner, self._id):
            return await self.why_gone()
        return None

    async def why_gone(self) -> End:
        try:
            moved = await in_thread(selectors.generation_is_anybodys)(self._id)
        except DatabaseError as error:
            if not passing(error):
                raise
            return End.BUSY
        return End.SIGNED_OUT if moved else End.GONE

    async def cancel(self) -> None:
        generation = await in_thread(selectors.generation_row)(self._owner, self._id)
        if generation:
            await in_thread(services.generation_cancel)(generation=generation)
