"""Messages on Celery's queues: each asks for one call of a task. Anything else there is junk.

These are not the messages to sockets and workers; those are in `generator/events.py`.

Celery trusts what it reads: a body that is a number ends the worker, a missing id makes it
reconnect for ever, and a message that is not confirmed comes back. So each message is checked
first, and only what was checked is handed on. Headers that our senders do not use (dates, limits,
groups, tasks to call afterwards) are dropped.
"""

from __future__ import annotations

import base64
import inspect
import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 64 * 1024  # ours have less than one
JSON, UTF8, BASE64 = "application/json", "utf-8", "base64"
AFTERWARDS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class Junk(Exception):
    """Not a message of our senders. The text says why."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request to call a task."""

    task: str
    id: str
    tag: str  # with which Celery confirms it
    args: list[Any]
    kwargs: dict[str, Any]

    def encoded(self, queue: str) -> bytes:
        """Return the message as kombu's Redis transport writes it, with these values only."""
        body = json.dumps([self.args, self.kwargs, AFTERWARDS]).encode()
        headers: dict[str, Any] = {
            "lang": "py",
            "task": self.task,
            "id": self.id,
            "root_id": self.id,
            "parent_id": None,
        }
        headers |= {
            "group": None,
            "retries": 0,
            "timelimit": [None, None],
            "eta": None,
            "expires": None,
        }
        properties: dict[str, Any] = {
            "correlation_id": self.id,
            "delivery_tag": self.tag,
            "priority": 0,
            "body_encoding": BASE64,
        }
        properties |= {"delivery_info": {"exchange": "", "routing_key": queue}}
        envelope = {
            "content-type": JSON,
            "content-encoding": UTF8,
            "headers": headers,
            "properties": properties,
        }
        return json.dumps({"body": base64.b64encode(body).decode(), **envelope}).encode()


def read(raw: bytes) -> Message:
    """Return the message that `raw` encodes. Raises Junk."""
    if len(raw) > MAX_BYTES:
        raise Junk(f"it has {len(raw):,} bytes")
    envelope = _object(_parsed(raw, "the message"), "the message")
    if (envelope.get("content-type"), envelope.get("content-encoding")) != (JSON, UTF8):
        raise Junk("it is not declared as JSON in UTF-8")
    headers = _object(envelope.get("headers"), "the headers")
    properties = _object(envelope.get("properties"), "the properties")
    task, name, tag = (
        _text(part.get(key), key)
        for part, key in ((headers, "task"), (headers, "id"), (properties, "delivery_tag"))
    )
    _object(properties.get("delivery_info"), "the delivery info")
    args, kwargs = _call(envelope.get("body"), properties.get("body_encoding"))
    return Message(task, name, tag, args, kwargs)


def checked(raw: bytes, queue: str, tasks: Mapping[str, Callable[..., Any]]) -> bytes:
    """Return `raw` with only the values that Celery may see.

    `tasks` are the functions of this queue by name. Raises Junk unless the message calls one of
    them with arguments that it takes.
    """
    message = read(raw)
    if message.task not in tasks:
        raise Junk(f"no task of this queue is named {message.task[:80]!r}")
    _check_arguments(tasks[message.task], message)
    return message.encoded(queue)


def _call(body: Any, encoding: Any) -> tuple[list[Any], dict[str, Any]]:
    if encoding != BASE64 or not isinstance(body, str):
        raise Junk("the body is not text in base64")
    try:
        decoded = base64.b64decode(body, validate=True)
    except ValueError:
        raise Junk("the body is not text in base64") from None
    parts = _parsed(decoded, "the body")
    if not isinstance(parts, list) or len(parts) != 3:
        raise Junk("the body is not a list of arguments, keywords and what to call afterwards")
    args, kwargs, afterwards = parts
    if not isinstance(args, list):
        raise Junk("the arguments are not a list")
    if any(_object(afterwards, "what to call afterwards").values()):
        raise Junk("it asks for other tasks to be called afterwards")
    return args, _object(kwargs, "the keywords")


def _check_arguments(function: Callable[..., Any], message: Message) -> None:
    try:
        given = inspect.signature(function).bind(*message.args, **message.kwargs).arguments
    except TypeError as error:
        raise Junk(f"{message.task}: {error}") from None
    hints = typing.get_type_hints(function)
    for name, value in given.items():
        if type(value) is not hints[name]:  # not isinstance: True is not a number here
            raise Junk(f"{message.task}: {name} is not of type {hints[name].__name__}")


def _parsed(raw: bytes, what: str) -> Any:
    try:
        return json.loads(raw.decode())
    except (ValueError, RecursionError):  # ValueError also for bytes that are not UTF-8
        raise Junk(f"{what} is not JSON") from None


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Junk(f"no object: {what}")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise Junk(f"it has no {what.replace('_', ' ')}")
    return value
