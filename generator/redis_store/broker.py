"""What Redis holds for Celery: the transport, which lets nothing but our own messages through, and what waits on a queue."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, partial
from typing import Any, cast

from celery import current_app
from django.conf import settings
from kombu.transport import redis
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from generator.redis_store import task_messages

logger = logging.getLogger(__name__)
PATIENCE = 2.0  # seconds for a Redis that is stuck
PREFIX = settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"]
SHOWN = 100  # bytes of what is rejected


class Client(redis.PrefixedStrictRedis):
    """Takes messages from queues, and leaves out those that are not ours."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """Return the answer to a command; to the one that waits for a message, None when that was junk: it is gone."""
        try:
            answer = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        except ResponseError as error:
            if command_name != "BRPOP" or not str(error).startswith("WRONGTYPE"):
                raise
            _remove_what_is_no_queue()
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
    """Return our own tasks that are sent to a queue; Celery's own are called by nobody."""
    default, routes = settings.CELERY_TASK_DEFAULT_QUEUE, settings.CELERY_TASK_ROUTES
    return {
        name: task.run
        for name, task in current_app.tasks.items()
        if not name.startswith("celery.") and routes.get(name, {}).get("queue", default) == queue
    }


@cache
def _client() -> Redis:
    return Redis.from_url(
        settings.REDIS_URL,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
    )


def _remove_what_is_no_queue() -> None:
    """Remove keys that have a queue's name and are no list: nobody could send or take anything as long as they stand there."""
    for queue in {
        settings.CELERY_TASK_DEFAULT_QUEUE,
        *(route["queue"] for route in settings.CELERY_TASK_ROUTES.values()),
    }:
        for key in _client().scan_iter(match=f"{PREFIX}{queue}*"):
            if (kind := cast("bytes", _client().type(key))) not in (b"list", b"none"):
                logger.warning(
                    "rejected what stands in the place of the queue %s: a %s", queue, kind.decode()
                )
                _client().delete(key)


def waiting(queue: str) -> list[task_messages.Message]:
    """Return the messages on a queue that nobody has taken yet. Raises RedisError when Redis is away."""
    found = []
    for raw in _client().lrange(f"{PREFIX}{queue}", 0, -1):  # type: ignore[union-attr]
        try:
            found.append(task_messages.read(raw))
        except task_messages.Junk:
            continue  # it is rejected when its turn comes
    return found
