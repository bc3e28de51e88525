"""Housekeeping removes sessions and submits that are no longer needed."""

from __future__ import annotations

from collections.abc import Callable

from tests.stack import Stack, wait_until

ROWS = """
from datetime import timedelta
from django.contrib.sessions.models import Session
from django.utils import timezone
from generator.models import Submit
now = timezone.now()
for name, age in (("ended", -1), ("lasting", 1)):
    expires = now + timedelta(days=age)
    Session.objects.create(session_key=name, session_data="x", expire_date=expires)
Submit.objects.create(visitor="long ago", created_at=now - timedelta(minutes=2))
Submit.objects.create(visitor="soon", created_at=now + timedelta(minutes=2))
"""


def test_expired_sessions_and_old_submits_are_removed(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack("redis")
    stack.manage("shell", "-c", ROWS)
    stack.start("housekeeping")
    wait_until(
        lambda: len(stack.rows("SELECT session_key FROM django_session")) == 1,
        "the expired session is removed",
        20,
    )
    wait_until(
        lambda: len(stack.rows("SELECT visitor FROM generator_submit")) == 1,
        "the old submit is removed",
        5,
    )
    assert stack.rows("SELECT session_key AS name FROM django_session") == [{"name": "lasting"}]
    assert stack.rows("SELECT visitor AS name FROM generator_submit") == [{"name": "soon"}]
