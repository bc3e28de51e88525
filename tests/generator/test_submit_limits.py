"""Limits of submits: when one is refused, until when, and what the refusal says."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from generator.models import Generation, ModelVersion, Submit
from tests.generator.conftest import submit


def test_more_than_the_limit_under_way_is_429_with_retry_after(
    client: Client, live: ModelVersion, settings: Any
) -> None:
    settings.OWNER_MAX_ACTIVE = 2
    assert [submit(client).status_code for _ in range(3)] == [201, 201, 429]
    refused = submit(client)
    assert int(refused["Retry-After"]) > 0
    assert "2 texts" in refused.json()["errors"]["__all__"][0]


def test_a_full_queue_is_503_with_retry_after(
    client: Client, stranger: Client, live: ModelVersion, settings: Any
) -> None:
    settings.QUEUE_MAX_LENGTH = 1
    assert submit(stranger).status_code == 201
    refused = submit(client)
    assert (refused.status_code, refused["Retry-After"]) == (503, "15")


def age(submits: Any, seconds: float) -> None:
    submits.update(created_at=timezone.now() - timedelta(seconds=seconds))


def test_more_than_the_limit_a_minute_is_429_until_the_oldest_is_a_minute_old(
    client: Client, live: ModelVersion, settings: Any
) -> None:
    settings.OWNER_SUBMITS_PER_MINUTE, settings.OWNER_MAX_ACTIVE = 3, 100
    assert [submit(client).status_code for _ in range(4)] == [201, 201, 201, 429]
    age(Submit.objects.filter(pk=Submit.objects.earliest("created_at").pk), 42)
    refused = submit(client)
    assert (refused.status_code, refused["Retry-After"]) == (429, "18")
    assert "3 texts within a minute" in refused.json()["errors"]["__all__"][0]
    age(Submit.objects.filter(pk=Submit.objects.earliest("created_at").pk), 60)
    assert [submit(client).status_code for _ in range(2)] == [201, 429]


def test_deleting_texts_does_not_reset_the_limit_a_minute(
    client: Client, live: ModelVersion, settings: Any
) -> None:
    settings.OWNER_SUBMITS_PER_MINUTE = 2
    for _ in range(2):
        client.post(f"{submit(client).json()['url']}delete/")
    assert not Generation.objects.exists()
    assert submit(client).status_code == 429


def test_signing_in_does_not_reset_the_limit_a_minute(live: ModelVersion, settings: Any) -> None:
    settings.OWNER_SUBMITS_PER_MINUTE = 2
    User.objects.create_user("ada", password="a-long-enough-one")
    browser = Client(headers={"accept": "application/json"})
    assert [submit(browser).status_code for _ in range(2)] == [201, 201]
    browser.post("/accounts/login/", {"username": "ada", "password": "a-long-enough-one"})
    assert submit(browser).status_code == 429


def test_refused_submits_do_not_count_and_old_rows_are_deleted(
    client: Client, stranger: Client, live: ModelVersion, settings: Any
) -> None:
    settings.OWNER_MAX_ACTIVE = 1
    assert [submit(client).status_code for _ in range(3)] == [201, 429, 429]
    assert Submit.objects.count() == 1
    age(Submit.objects.all(), 61)
    assert submit(stranger).status_code == 201
    assert Submit.objects.count() == 1


def test_a_repeated_submit_is_answered_even_above_the_limit(
    client: Client, live: ModelVersion, settings: Any
) -> None:
    settings.OWNER_SUBMITS_PER_MINUTE = 1
    first, second = (submit(client, client_key="once") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] == second.json()["id"]


def test_every_owner_has_a_limit_of_their_own(
    client: Client, stranger: Client, live: ModelVersion, settings: Any
) -> None:
    settings.OWNER_SUBMITS_PER_MINUTE = 1
    assert [submit(who).status_code for who in (client, client, stranger)] == [201, 429, 201]


def test_again_obeys_the_same_limits_and_keeps_its_parameters(
    client: Client, live: ModelVersion, settings: Any
) -> None:
    settings.OWNER_SUBMITS_PER_MINUTE = 1
    url = submit(client, prompt="Keep me, too", length=77).json()["url"]
    refused = client.post(f"{url}again/", {"seed": "new"})
    assert (refused.status_code, int(refused["Retry-After"]) > 50) == (429, True)
    page = client.post(f"{url}again/", {"seed": "new"}, headers={"accept": "text/html"})
    assert (page.status_code, "Retry-After" in page) == (429, True)
    assert "Keep me, too" in page.text
    assert 'value="77"' in page.text
    assert re.search(r"within a minute.* Try again in \d+ seconds\.", page.text)


def test_a_refusal_names_the_running_texts_and_how_to_stop_them(
    client: Client, live: ModelVersion, settings: Any
) -> None:
    settings.OWNER_MAX_ACTIVE = 3
    ids = [submit(client, prompt=prompt).json()["id"] for prompt in ("first", "x" * 100, "third")]
    refused = submit(client)
    assert [(row["id"], row["excerpt"]) for row in refused.json()["active"]] == list(
        zip(ids, ("first", "x" * 60, "third"), strict=True)
    )
    for row in refused.json()["active"][:1]:
        assert client.get(row["url"]).status_code == 200
        Generation.objects.filter(pk=row["id"]).update(state="running")
        assert client.post(row["cancel"]).status_code == 202
    settings.OWNER_MAX_ACTIVE = 2
    assert [row["id"] for row in submit(client).json()["active"]] == ids[
        1:
    ]  # the first is being stopped


def test_a_full_queue_names_nobodys_texts(
    client: Client, stranger: Client, live: ModelVersion, settings: Any
) -> None:
    settings.QUEUE_MAX_LENGTH = 2
    assert [submit(stranger).status_code, submit(client).status_code] == [201, 201]
    assert "active" not in submit(client).json()


def test_stopping_one_from_the_refused_page_brings_the_desk_back_filled_in(
    live: ModelVersion, settings: Any
) -> None:
    settings.OWNER_MAX_ACTIVE = 1
    browser = Client()
    form = {"prompt": "Keep <me>", "length": "77", "temperature": "0.5"}
    browser.post("/generations/", {**form, "prompt": "Runs"})
    refused = browser.post("/generations/", form)
    assert refused.status_code == 429
    (stop,) = re.findall(r'formaction="([^"]+)" name="back" value="desk"', refused.text)
    page = browser.post(stop, {**form, "back": "desk"})
    assert page.status_code == 200
    assert "Keep &lt;me&gt;</textarea>" in page.text
    assert 'value="77"' in page.text
    assert "That text was stopped." in page.text
    assert stop not in page.text
    assert browser.post("/generations/", form).status_code == 302
