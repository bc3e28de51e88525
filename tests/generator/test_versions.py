"""The mirror of the registry, the one live version, and the ledger.

Attempts without the permission are in tests/integration/test_bad_admin.py.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError
from django.test import Client
from django.utils import timezone

from generator.models import ModelVersion, Promotion
from generator.versions import ledger, mirror
from tests.generator.conftest import make_version

ACTION_URL = "/admin/generator/modelversion/"


@pytest.fixture
def staff(db: None) -> User:
    user = User.objects.create_user("sam", password="a-long-enough-one", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_modelversion"))
    return user


@pytest.fixture
def promoter(staff: User) -> User:
    staff.user_permissions.add(Permission.objects.get(codename="promote_modelversion"))
    return User.objects.get(pk=staff.pk)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def make_live(client: Client, *chosen: ModelVersion) -> Any:
    fields = {"action": "make_live", "_selected_action": [version.pk for version in chosen]}
    return client.post(ACTION_URL, fields, follow=True)


def test_two_versions_cannot_be_live(live: ModelVersion) -> None:
    with pytest.raises(IntegrityError):
        make_version(2, is_live=True)


def test_a_switch_leaves_exactly_one_live(live: ModelVersion) -> None:
    other = make_version(2)
    ledger.version_switch(version=other)
    assert list(ModelVersion.objects.filter(is_live=True)) == [other]


def test_the_mirror_updates_rows_but_not_which_is_live(live: ModelVersion) -> None:
    fields: dict[str, Any] = {
        "name": "charrnn",
        "version": 1,
        "digest": live.digest,
        "title": "new title",
        "run_id": "r",
        "vocabulary_size": 90,
        "parameters": {"hidden_size": "512"},
        "metrics": {},
        "created_at": timezone.now(),
        "problem": "",
    }
    mirror.versions_mirror([fields, {**fields, "version": 2}])
    assert list(ModelVersion.objects.values_list("version", "title", "is_live")) == [
        (2, "new title", False),
        (1, "new title", True),
    ]


def test_an_accepted_promotion_switches_and_is_closed(live: ModelVersion, promoter: User) -> None:
    other = make_version(2)
    promotion = Promotion.objects.create(requested_by=promoter, from_version=live, to_version=other)
    ledger.promotion_accept(promotion=promotion, evidence="checked")
    promotion.refresh_from_db()
    assert (promotion.outcome, promotion.evidence) == ("done", "checked")
    assert promotion.finished_at is not None
    assert ModelVersion.objects.get(is_live=True) == other


def test_a_refused_promotion_leaves_the_live_version(live: ModelVersion, promoter: User) -> None:
    promotion = Promotion.objects.create(
        requested_by=promoter, from_version=live, to_version=make_version(2)
    )
    ledger.promotion_refuse(promotion=promotion, evidence="NaN weights")
    ledger.promotion_refuse(promotion=promotion, evidence="a second time")
    promotion.refresh_from_db()
    assert (promotion.outcome, promotion.evidence) == ("refused", "NaN weights")
    assert ModelVersion.objects.get(is_live=True) == live


def test_a_second_switch_at_once_is_a_conflict(live: ModelVersion, promoter: User) -> None:
    other = make_version(2)
    first = Promotion.objects.create(requested_by=promoter, to_version=other)
    assert ledger.promotion_request(version=other, user=promoter) == first  # a second click
    for version, user in (
        (make_version(3), promoter),
        (other, User.objects.create_user("somebody else")),
    ):
        with pytest.raises(ledger.PromotionConflict):
            ledger.promotion_request(version=version, user=user)


def test_a_lost_switch_blocks_no_other(live: ModelVersion, promoter: User) -> None:
    other = make_version(2)
    lost = Promotion.objects.create(requested_by=promoter, to_version=other)
    Promotion.objects.update(created_at=timezone.now() - 2 * ledger.PROMOTION_TIMEOUT)
    assert not ledger.promotions_open()
    lost.refresh_from_db()
    assert lost.outcome == "refused"


def test_without_a_broker_a_switch_is_refused_with_the_reason(
    live: ModelVersion, promoter: User
) -> None:
    page = make_live(signed_in(promoter), make_version(2))
    assert "The broker could not be reached." in page.content.decode()
    assert Promotion.objects.get().outcome == "refused"


def test_the_action_is_offered_only_with_the_permission(live: ModelVersion, staff: User) -> None:
    assert "make_live" not in signed_in(staff).get(ACTION_URL).content.decode()
    staff.user_permissions.add(Permission.objects.get(codename="promote_modelversion"))
    assert "make_live" in signed_in(User.objects.get(pk=staff.pk)).get(ACTION_URL).content.decode()


def test_only_one_version_can_be_selected(live: ModelVersion, promoter: User) -> None:
    page = make_live(signed_in(promoter), make_version(2), make_version(3))
    assert "Select exactly one version" in page.content.decode()
    assert not Promotion.objects.exists()


def test_the_live_version_needs_no_switch(live: ModelVersion, promoter: User) -> None:
    assert "is live already" in make_live(signed_in(promoter), live).content.decode()
    assert not Promotion.objects.exists()


@pytest.mark.parametrize("model", ["modelversion", "promotion", "generation", "worker"])
def test_admin_rows_are_read_only(live: ModelVersion, admin_client: Client, model: str) -> None:
    assert admin_client.get(f"/admin/generator/{model}/").status_code == 200
    assert admin_client.get(f"/admin/generator/{model}/add/").status_code == 403


def test_a_text_can_be_viewed_but_not_changed(admin_client: Client, make_generation: Any) -> None:
    generation = make_generation(text="what was written")
    url = f"/admin/generator/generation/{generation.pk}/change/"
    assert b"what was written" in admin_client.get(url).content
    assert admin_client.post(url, {"text": "forged"}).status_code == 403
    assert (
        admin_client.post(
            f"/admin/generator/generation/{generation.pk}/delete/", {"post": "yes"}
        ).status_code
        == 403
    )
