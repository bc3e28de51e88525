"""What the pages of the admin show: words, links that work, and the switches of a version.

The permission to switch is tested in test_versions.py and tests/integration/test_bad_admin.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from generator.models import Generation, ModelVersion, Promotion
from generator.versions import ledger
from tests.generator.conftest import make_version

Make = Callable[..., Generation]
HOSTILE = "\u202e\u2067evil"


@pytest.fixture
def staff(db: None) -> Client:
    browser = Client()
    browser.force_login(User.objects.create_superuser("root", password="a-long-enough-one"))
    return browser


def test_every_link_on_a_texts_page_works(staff: Client, make_generation: Make) -> None:
    text = make_generation(state="done", text="and on")
    page = staff.get(f"/admin/generator/generation/{text.pk}/change/").text
    assert "and on" in page
    for address in re.findall(r'href="([^"#?]+)"', page):
        if address.startswith("/admin/") or address == text.get_absolute_url():
            assert staff.get(address, follow=True).status_code == 200, address
    assert text.get_absolute_url() not in page
    # The admin's own history is empty, because only the application writes these rows.
    assert "history/" not in page


def test_the_history_of_a_version_shows_its_switches(live: ModelVersion) -> None:
    sam = User.objects.create_user("sam", password="a-long-enough-one", is_staff=True)
    sam.user_permissions.add(Permission.objects.get(codename="view_modelversion"))
    browser = Client()
    browser.force_login(sam)
    other, third = make_version(2), make_version(3)
    promotion = Promotion.objects.create(
        requested_by=sam, from_version=live, to_version=other, reason="better"
    )
    ledger.promotion_accept(promotion=promotion, evidence="golden text equal")
    ledger.promotion_denied(version=third, user=None, evidence="not this one")
    for version in (live, other):
        link = f"/admin/generator/modelversion/{version.pk}/history/"
        assert link in browser.get(f"/admin/generator/modelversion/{version.pk}/change/").text
        page = browser.get(link).text
        assert "change history" not in page.lower()
        for words in ("charrnn v1", "charrnn v2", "sam", "better", "golden text equal"):
            assert words in page
        assert "not this one" not in page
    assert (
        "Nobody has asked"
        in browser.get(f"/admin/generator/modelversion/{make_version(4).pk}/history/").text
    )


def test_live_or_not_is_a_word_and_not_a_red_cross(
    staff: Client, live: ModelVersion, make_generation: Make
) -> None:
    other = make_version(2)
    page = staff.get("/admin/generator/modelversion/").text
    cells = dict(
        zip(("v2", "v1"), re.findall(r'class="field-live[^"]*">([^<]+)<', page), strict=True)
    )
    assert cells == {"v2": "–", "v1": "live"}
    pages = [f"modelversion/{version.pk}/change/" for version in (live, other)]
    for path in ("modelversion/", *pages, f"generation/{make_generation().pk}/change/"):
        assert "icon-no" not in staff.get(f"/admin/generator/{path}").text


def test_text_of_people_and_models_is_isolated(
    staff: Client, live: ModelVersion, make_generation: Make
) -> None:
    text = make_generation(prompt=HOSTILE, stop=[HOSTILE])
    ModelVersion.objects.filter(pk=live.pk).update(title=HOSTILE)
    Promotion.objects.create(to_version=live, reason=HOSTILE, evidence=HOSTILE)
    for path in ("modelversion/", "generation/", "promotion/", f"modelversion/{live.pk}/history/"):
        page = staff.get(f"/admin/generator/{path}").text
        assert HOSTILE in page
        assert HOSTILE not in re.sub(f"<bdi>[^<]*{HOSTILE}[^<]*</bdi>", "", page), path
    assert (
        f"<bdi>{HOSTILE}</bdi>" in staff.get(f"/admin/generator/generation/{text.pk}/change/").text
    )
