"""Malformed messages for Celery's queues and the channel layer, by name. None may take effect."""

from __future__ import annotations

import base64
import json
import pickle
import uuid
from typing import Any

from channels_redis.serializers import registry

GENERATE, HOUSEKEEPING = "generate", "housekeeping"
TASKS = {GENERATE: "generator.tasks.generate", HOUSEKEEPING: "generator.tasks.promote"}
ARGUMENTS: dict[str, list[Any]] = {GENERATE: [str(uuid.uuid4())], HOUSEKEEPING: [10**9]}
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def encoded(body: Any) -> str:
    """Return a body as Celery writes it."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return base64.b64encode(raw).decode()


def message(
    queue: str, body: Any = ..., *, headers: Any = ..., properties: Any = ..., **envelope: Any
) -> dict[str, Any]:
    """Return a message of the site's own form with some parts replaced.

    `headers` and `properties` are merged if they are dictionaries.
    """
    name = str(uuid.uuid4())
    known_headers = {
        "lang": "py",
        "task": TASKS[queue],
        "id": name,
        "root_id": name,
        "parent_id": None,
        "group": None,
    }
    known_headers |= {
        "retries": 0,
        "timelimit": [None, None],
        "eta": None,
        "expires": None,
        "origin": "test",
    }
    known_properties = {
        "correlation_id": name,
        "reply_to": str(uuid.uuid4()),
        "delivery_mode": 2,
        "priority": 0,
    }
    known_properties |= {
        "delivery_info": {"exchange": "", "routing_key": queue},
        "body_encoding": "base64",
        "delivery_tag": name,
    }
    return {
        "body": encoded([ARGUMENTS[queue], {}, EMBED] if body is ... else body),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": known_headers
        if headers is ...
        else known_headers | headers
        if isinstance(headers, dict)
        else headers,
        "properties": known_properties | properties
        if isinstance(properties, dict)
        else known_properties,
    } | envelope


def without(queue: str, part: str, name: str) -> dict[str, Any]:
    """Return a message that lacks a header or a property."""
    whole = message(queue)
    del whole[part][name]
    return whole


def junk(queue: str) -> dict[str, bytes]:
    """Return invalid messages of a queue, by name."""
    arguments = ARGUMENTS[queue]
    bodies = {
        "a number": 42,
        "null": None,
        "a text": "x",
        "an object": {},
        "an object with args": {"args": [], "task": TASKS[queue], "id": "1"},
        "true": True,
        "an empty list": [],
        "a list of one": [1],
        "a list of three numbers": [1, 2, 3],
        "no arguments": [[], {}, EMBED],
        "too many arguments": [[*arguments, 1, 2], {}, EMBED],
        "an unknown argument": [[], {"surprise": 1}, EMBED],
        "an argument of another type": [[[1]], {}, EMBED],
        "a list for the keywords": [arguments, [], EMBED],
        "a task to call afterwards": [
            arguments,
            {},
            {**EMBED, "callbacks": [{"task": "generator.tasks.requeue"}]},
        ],
        "bytes that are no UTF-8": b"\xff\xfe[[], {}, {}]",
        "cut off": b'[["',
        "nested a hundred thousand times": b"[" * 100_000,
        "a pickle under the name of JSON": pickle.dumps([arguments, {}, EMBED]),
        "an object for Celery's decoder": [[{"__type__": "uuid", "__value__": 42}], {}, EMBED],
    }
    envelopes: dict[str, Any] = {
        "a pickle": message(
            queue, pickle.dumps(arguments), **{"content-type": "application/x-python-serialize"}
        ),
        "another content type": message(queue, **{"content-type": "text/plain"}),
        "no content type": message(queue, **{"content-type": None}),
        "another encoding": message(queue, **{"content-encoding": "binary"}),
        "bad base64": message(queue, body="!!!"),
        "a number for a body": {**message(queue), "body": 42},
        "an unknown task": message(queue, headers={"task": "os.system"}),
        "a task of Celery's own": message(
            queue, [[], {}, EMBED], headers={"task": "celery.backend_cleanup"}
        ),
        "a number for a task": message(queue, headers={"task": 42}),
        "a list for an id": message(queue, headers={"id": [1]}),
        "no headers": message(queue, headers=None),
        "a list of headers": message(queue, headers=["task"]),
        "no task": without(queue, "headers", "task"),
        "no id": without(queue, "headers", "id"),
        "no delivery tag": without(queue, "properties", "delivery_tag"),
        "no delivery info": without(queue, "properties", "delivery_info"),
        "a list for the delivery info": message(queue, properties={"delivery_info": []}),
        "no properties": {**message(queue), "properties": None},
        "no envelope but a list": [1, 2, 3],
        "no envelope but null": None,
        "an empty envelope": {},
    }
    raw = {
        "no JSON at all": b"hello",
        "nothing": b"",
        "no text": b"\x80\x00\xff",
        "an envelope that is cut off": json.dumps(message(queue)).encode()[:-20],
        "an envelope nested too deeply": b'{"body":' + b"[" * 100_000,
        "a megabyte": json.dumps(
            message(queue, [[*arguments], {"x": "y" * 10**6}, EMBED])
        ).encode(),
        "an object for the decoder of the envelope": (
            b'{"properties": {"__type__": "uuid", "__value__": 42}}'
        ),
    }
    if queue == GENERATE:
        raw["a task of the other queue"] = json.dumps(
            message(queue, [[], {}, EMBED], headers={"task": "generator.tasks.requeue"})
        ).encode()
    in_bodies = {
        f"body: {name}": json.dumps(message(queue, body)).encode() for name, body in bodies.items()
    }
    return (
        in_bodies
        | {name: json.dumps(envelope).encode() for name, envelope in envelopes.items()}
        | raw
    )


NO_UUID = json.dumps(message(GENERATE, [["x"], {}, EMBED])).encode()  # which only the task can tell


def odd(queue: str) -> dict[str, bytes]:
    """Return valid messages with odd values in fields that the site ignores: they are accepted."""
    headers = {
        "time limits": {"timelimit": "x"},
        "retries": {"retries": "many"},
        "a date that never comes": {"eta": "9999-12-31T23:59:59"},
        "an expiry long ago": {"expires": "1970-01-01T00:00:00"},
        "an expiry that is none": {"expires": {"x": 1}},
        "a compression": {"compression": "application/x-gzip"},
        "another name": {"shadow": {"x": 1}},
        "a group": {
            "group": [1],
            "chord": {"x": 1},
            "root_id": [2],
            "stamps": 5,
            "stamped_headers": 7,
        },
    }
    return {
        name: json.dumps(message(queue, headers=fields)).encode()
        for name, fields in headers.items()
    }


def layer_junk() -> dict[str, bytes]:
    """Return invalid messages of the channel layer, by name."""
    serialize = registry.get_serializer("msgpack").serialize
    frame = {"type": "chars", "offset": 0, "text": "x", "surprisal": [1.0]}
    values: dict[str, Any] = {
        "a number": 42,
        "nothing": None,
        "a list": [1, 2],
        "a text": "generation.cancel",
        "no type": {"id": str(uuid.uuid4())},
        "an unknown type": {"type": "os.system", "id": str(uuid.uuid4())},
        "a number for a type": {"type": 1},
        "a handler of the socket's own": {"type": "websocket.disconnect", "code": 1},
        "another handler": {"type": "current.owner"},
        "no id": {"type": "generation.cancel"},
        "an id that is no UUID": {"type": "generation.cancel", "id": "x"},
        "a number for an id": {"type": "generation.cancel", "id": 42},
        "bytes for an id": {"type": "generation.cancel", "id": b"\xff"},
        "a list for an id": {"type": "generation.cancel", "id": [1]},
        "no frame": {"type": "generation.frame", "attempt": 1},
        "a number for a frame": {"type": "generation.frame", "attempt": 1, "frame": 1},
        "a frame without text": {"type": "generation.frame", "attempt": 1, "frame": {"offset": 0}},
        "a text for an offset": {
            "type": "generation.frame",
            "attempt": 1,
            "frame": {**frame, "offset": "0"},
        },
        "an offset below nothing": {
            "type": "generation.frame",
            "attempt": 1,
            "frame": {**frame, "offset": -1},
        },
        "a text for an attempt": {"type": "generation.frame", "attempt": "1", "frame": frame},
        "a number for the text": {
            "type": "generation.frame",
            "attempt": 1,
            "frame": {**frame, "text": 1},
        },
        "too few surprisals": {
            "type": "generation.frame",
            "attempt": 1,
            "frame": {**frame, "text": "xy"},
        },
    }
    raw = {
        "no bytes": b"",
        "too short": b"x",
        "no message": b"\xc1" * 40,
        "cut off": serialize({"type": "generation.cancel"})[:-3],
    }
    return {name: serialize(value) for name, value in values.items()} | raw
