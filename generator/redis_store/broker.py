"""Celery's queues in Redis: the transport that takes task messages, and what waits on a queue.

The transport hands only task messages of our own to Celery (`task_messages.py`). Messages to
sockets and workers do not pass here: they go through the channel layer (`generator/events.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, partial
from typing import Any, cast

from celery import current_app
from django.conf import settings
from kombu.transport import redis
from redis.exceptions import ResponseError

from generator.redis_store import clients, task_messages
from generator.redis_store.keys import queue_key

logger = logging.getLogger(__name__)
SHOWN = 100  # bytes of a rejected message, in the log


class Client(redis.PrefixedStrictRedis):
    """Takes messages from queues, and drops those that are not ours."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """Return the answer to a command; None in place of a message that is junk.

        BRPOP, which waits for a message, has already removed it.
        """
        parse: Any = super().parse_response  # has no types
        try:
            answer = parse(connection, command_name, **options)
        except ResponseError as error:
            if command_name != "BRPOP" or not str(error).startswith("WRONGTYPE"):
                raise
            _remove_keys_in_place_of_queues()
            return None
        if command_name != "BRPOP" or not answer:
            return answer
        key, raw = answer
        queue = key.decode().split(redis.Channel.sep)[0]  # each priority has a list of its own
        try:
            return key, task_messages.checked(raw, queue, _functions(queue))
        except task_messages.Junk as junk:
            logger.warning("rejected a message on the queue %s: %s: %r", queue, junk, raw[:SHOWN])
            return None


class Channel(redis.Channel):
    """Kombu's, with our client."""

    def _get_client(self) -> Callable[..., Client]:
        return partial(Client, global_keyprefix=self.global_keyprefix)


class Transport(redis.Transport):
    """Kombu's, with our channel."""

    Channel = Channel


@cache
def _functions(queue: str) -> dict[str, Callable[..., Any]]:
    """Return by name the functions of our tasks that are sent to `queue`, without Celery's own."""
    default, routes = settings.CELERY_TASK_DEFAULT_QUEUE, settings.CELERY_TASK_ROUTES
    return {
        name: task.run
        for name, task in current_app.tasks.items()
        if not name.startswith("celery.") and routes.get(name, {}).get("queue", default) == queue
    }


def _remove_keys_in_place_of_queues() -> None:
    """Remove keys that have a queue's name and are no list: with them nothing is sent or taken."""
    client = clients.queue_client()
    for queue in {
        settings.CELERY_TASK_DEFAULT_QUEUE,
        *(route["queue"] for route in settings.CELERY_TASK_ROUTES.values()),
    }:
        for key in client.scan_iter(match=f"{queue_key(queue)}*"):
            kind = cast("bytes", client.type(key)).decode()
            if kind not in ("list", "none"):
                logger.warning("rejected a %s in the place of the queue %s", kind, queue)
                client.delete(key)


def waiting(queue: str) -> list[task_messages.Message]:
    """Return the messages on a queue that no worker has taken yet.

    Raises RedisError when Redis is away.
    """
    found = []
    raw_messages = cast("list[bytes]", clients.queue_client().lrange(queue_key(queue), 0, -1))
    for raw in raw_messages:
        try:
            found.append(task_messages.read(raw))
        except task_messages.Junk:
            continue  # rejected when a worker takes it
    return found
