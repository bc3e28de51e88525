"""What Celery sees of a queue: messages of our senders, and of these only the values they set."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from celery import current_app
from kombu.utils.json import loads

from generator.redis_store import broker, task_messages
from tests.environment import isolated_environment
from tests.junk import EMBED, GENERATE, HOUSEKEEPING, TASKS, junk, message, odd

QUEUES = (GENERATE, HOUSEKEEPING)


def functions(queue: str) -> dict[str, object]:
    current_app.loader.import_default_modules()
    return broker._functions(queue)


@pytest.mark.parametrize(
    ("queue", "name"), [(queue, name) for queue in QUEUES for name in junk(queue)]
)
def test_junk_is_rejected_with_a_reason_on_one_line(queue: str, name: str) -> None:
    with pytest.raises(task_messages.Junk) as refused:
        task_messages.checked(junk(queue)[name], queue, functions(queue))
    assert str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("queue", QUEUES)
def test_headers_that_our_senders_do_not_set_are_dropped(queue: str) -> None:
    plain = loads(
        task_messages.checked(json.dumps(message(queue)).encode(), queue, functions(queue))
    )
    for name, raw in odd(queue).items():
        taken = loads(task_messages.checked(raw, queue, functions(queue)))
        assert taken["headers"] == plain["headers"] | {
            key: taken["headers"][key] for key in ("id", "root_id")
        }, name


def test_a_message_of_our_senders_arrives_as_it_was_sent() -> None:
    key = str(uuid.uuid4())
    headers, properties, body, _ = current_app.amqp.as_task_v2(
        str(uuid.uuid4()), TASKS[GENERATE], args=[key]
    )
    properties |= {
        "delivery_tag": "1",
        "delivery_info": {"exchange": "", "routing_key": GENERATE},
        "body_encoding": "base64",
    }
    envelope = {
        "headers": headers,
        "properties": properties,
        "content-type": "application/json",
        "content-encoding": "utf-8",
    }
    envelope["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    taken = loads(
        task_messages.checked(json.dumps(envelope).encode(), GENERATE, functions(GENERATE))
    )
    assert (taken["headers"]["task"], taken["headers"]["id"]) == (TASKS[GENERATE], headers["id"])
    assert json.loads(base64.b64decode(taken["body"])) == [[key], {}, EMBED]


def test_each_task_is_taken_from_its_own_queue() -> None:
    assert set(functions(GENERATE)) == {"generator.tasks.generate"}
    assert "generator.tasks.promote" in functions(HOUSEKEEPING)
    assert not any(name.startswith("celery.") for queue in QUEUES for name in functions(queue))


@pytest.mark.parametrize(
    ("url", "encrypted"), [("rediss://broker:6380/0", True), ("redis://broker:6379/0", False)]
)
def test_the_transport_encrypts_when_the_address_says_so(
    tmp_path: Path, url: str, encrypted: bool
) -> None:
    code = (
        "from charrnn_site.celery import app; broker = app.connection_for_write();"
        " print(broker.transport_cls, broker.ssl)"
    )
    environment = isolated_environment(tmp_path, {"REDIS_URL": url})
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("generator.redis_store.broker:Transport")
    assert ("CERT_REQUIRED" in done.stdout) == encrypted
