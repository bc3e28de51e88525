"""The mirror of odd registry entries, and which versions a visitor is offered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from generator import selectors
from generator.models import Generation, ModelVersion
from generator.versions import mirror
from tests.generator.conftest import make_version
from tests.generator.test_versions import ACTION_URL


def entry(version: int, **changes: Any) -> dict[str, Any]:
    """What is mirrored of a good version."""
    fields = {
        "digest": f"{version:064x}",
        "title": f"version {version}",
        "run_id": "r",
        "vocabulary_size": 90,
    }
    fields |= {
        "parameters": {},
        "metrics": {"validation_nats_per_char": 1.5},
        "created_at": timezone.now(),
        "problem": "",
    }
    return {"name": "charrnn", "version": version, **fields, **changes}


def offered() -> list[int]:
    return list(selectors.version_choices().values_list("version", flat=True))


def row(version: int) -> ModelVersion:
    return ModelVersion.objects.get(version=version)


def test_an_unreadable_entry_is_shown_with_its_reason_and_stops_no_other(
    live: ModelVersion, admin_client: Client
) -> None:
    odd = entry(2, digest="", vocabulary_size=0, metrics={}, problem="it has no tag 'digest'")
    mirror.versions_mirror([entry(1), odd, entry(3)])
    assert offered() == [3, 1]
    page = admin_client.get(ACTION_URL).content.decode()
    assert "unreadable: it has no tag &#x27;digest&#x27;" in page
    mirror.versions_mirror([entry(1), entry(2), entry(3)])
    assert (offered(), row(2).digest, row(2).problem) == ([3, 2, 1], f"{2:064x}", "")


def test_an_entry_that_no_row_can_hold_stops_no_other(live: ModelVersion) -> None:
    mirror.versions_mirror(
        [entry(1), entry(2, metrics={"chars": float("nan")}), entry(2**70), entry(4)]
    )
    assert offered() == [4, 1]


def test_an_entry_that_becomes_unreadable_keeps_the_values_of_its_row(live: ModelVersion) -> None:
    make_version(2, title="two")
    mirror.versions_mirror(
        [entry(1), entry(2, digest="", title="", problem="it has no tag 'digest'")]
    )
    assert (row(2).digest, row(2).title, row(2).problem) == (
        f"{2:064x}",
        "two",
        "it has no tag 'digest'",
    )


def test_a_changed_digest_is_a_problem_that_is_logged_once(
    live: ModelVersion, caplog: pytest.LogCaptureFixture
) -> None:
    make_version(2)
    for _ in range(2):
        mirror.versions_mirror([entry(1), entry(2, digest="ab" * 32, title="another")])
    assert (row(2).digest, row(2).title) == (f"{2:064x}", "")
    assert (
        row(2).problem
        == f"its digest was changed in the registry, from {2:064x}"[:-52] + " to abababababab"
    )
    assert offered() == [1]
    assert caplog.text.count("its digest was changed") == 1
    mirror.versions_mirror([entry(1), entry(2)])
    assert offered() == [2, 1]


def test_the_live_version_is_offered_even_if_the_registry_lacks_it(live: ModelVersion) -> None:
    mirror.versions_mirror([])
    assert row(1).problem == "it is not in the registry any more"
    assert offered() == [1]


def test_a_removed_version_is_not_offered_and_its_row_is_synced(
    live: ModelVersion,
) -> None:
    make_version(2, synced_at=timezone.now() - timedelta(hours=1))
    before = timezone.now()
    mirror.versions_mirror([entry(1)])
    assert offered() == [1]
    assert row(2).synced_at >= before
    mirror.versions_mirror([entry(1), entry(2)])
    assert offered() == [2, 1]


def test_missing_files_are_remembered_for_a_while(live: ModelVersion) -> None:
    other = make_version(2)
    assert mirror.files_remembered(version=other) is None
    mirror.files_missing(version=other, reason="", retry_after=timedelta(minutes=1))
    assert (mirror.files_remembered(version=other), offered()) == ("", [1])
    mirror.files_missing(version=other, reason="it has no files", retry_after=timedelta(minutes=1))
    assert (mirror.files_remembered(version=other), offered()) == ("it has no files", [1])
    mirror.files_missing(version=other, reason="it has no files", retry_after=-timedelta(seconds=1))
    assert (mirror.files_remembered(version=other), offered()) == (None, [2, 1])
    mirror.files_found(version=other)
    assert (row(2).files_problem, row(2).files_retry_at) == ("", None)


def test_an_unusable_version_is_an_error_of_its_field(live: ModelVersion, client: Client) -> None:
    make_version(2, problem="it has no tag 'digest'")
    answer = client.post("/generations/", {"prompt": "x", "version": "2"})
    assert answer.status_code == 400
    assert answer.json()["errors"] == {
        "version": ["This version does not exist or cannot write at the moment. Choose another."]
    }


def test_the_history_finds_texts_of_a_removed_version(
    live: ModelVersion, client: Client, make_generation: Any
) -> None:
    make_generation(model_version=make_version(2, problem="gone"), text="old")
    assert (
        'value="2" selected'
        in client.get("/history/?version=2", headers={"accept": "text/html"}).content.decode()
    )


def test_the_page_of_a_failed_text_offers_the_live_version(
    live: ModelVersion, client: Client, make_generation: Any
) -> None:
    other = make_version(2)
    failed = make_generation(
        model_version=other,
        state=Generation.State.FAILED,
        error="Version 2 is not in the registry.",
        length=77,
    )
    html = {"accept": "text/html"}
    link = f"/?from={failed.pk}&amp;live"
    assert link in client.get(f"/generations/{failed.pk}/", headers=html).content.decode()
    desk = client.get(link.replace("&amp;", "&"), headers=html).content.decode()
    assert 'value="77"' in desk
    assert 'value="2" selected' not in desk
    own = make_generation(state=Generation.State.FAILED, error="x")
    assert "&amp;live" not in client.get(f"/generations/{own.pk}/", headers=html).content.decode()
