"""Rows and clients for tests without servers.

Nothing is sent anywhere, because on_commit does not fire in these transactions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from generator.models import Generation, ModelVersion, Owner
from generator.owners import remember_visitor

# For each sampling parameter a value that neither `make_generation` nor a plain submit gives.
OTHER_SAMPLING: dict[str, Any] = {
    "length": 101,
    "temperature": 0.8,
    "top_k": 5,
    "top_p": 0.5,
    "stop": ["x"],
    "seed": 2**64 - 1,
}


def make_version(number: int = 1, **fields: Any) -> ModelVersion:
    now = timezone.now()
    values = {
        "digest": f"{number:064x}",
        "vocabulary_size": 90,
        "created_at": now,
        "synced_at": now,
        **fields,
    }
    return ModelVersion.objects.create(name="charrnn", version=number, **values)


@pytest.fixture
def live(db: None) -> ModelVersion:
    return make_version(1, is_live=True, metrics={"validation_nats_per_char": 1.4})


def visitor_client(visitor: str) -> Client:
    client = Client(headers={"accept": "application/json"})
    client.cookies.update(remember_visitor(HttpResponse(), Owner(visitor=visitor)).cookies)
    return client


@pytest.fixture
def owner() -> Owner:
    return Owner(visitor="a" * 32)


@pytest.fixture
def client(db: None, owner: Owner) -> Client:
    """The browser of `owner`, asking for JSON."""
    return visitor_client(owner.visitor)


@pytest.fixture
def stranger(db: None) -> Client:
    """The browser of somebody else."""
    return visitor_client("b" * 32)


@pytest.fixture
def make_generation(live: ModelVersion, owner: Owner) -> Callable[..., Generation]:
    def make(**fields: Any) -> Generation:
        values = {
            "prompt": "Once",
            "length": 100,
            "temperature": 0.7,
            "seed": 7,
            "model_version": live,
            **owner.fields,
            **fields,
        }
        return Generation.objects.create(**values)

    return make


GOOD = {"prompt": "It was", "length": 100, "temperature": 0.7}


def submit(client: Client, **fields: Any) -> Any:
    """Return the answer to a submit as JSON; what is not named is as in GOOD."""
    return client.post(
        "/generations/", json.dumps({**GOOD, **fields}), content_type="application/json"
    )
