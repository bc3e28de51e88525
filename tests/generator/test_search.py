"""What a search finds: letters of any script, whatever their case and accents, in every text."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from generator import search, selectors
from generator.models import Generation, Owner
from generator.text import folded

Make = Callable[..., Generation]

# A query, and a text that it finds.
ALIKE = [
    ("été", "L'ÉTÉ DERNIER"),
    ("ete", "un été"),
    ("ÉTÉ", "un e\u0301te\u0301 de\u0301compose\u0301"),
    ("un été", "UN ETE"),
    ("москва", "ГОРОД МОСКВА"),
    ("МОСКВА", "город москва"),
    ("все", "всё"),
    ("ΑΘΗΝΑ", "στην Αθήνα"),
    ("οδυσσευς", "ὈΔΥΣΣΕΎΣ"),
    ("οδυσσευσ", "Ὀδυσσεύς"),
    ("strasse", "die Straße"),
    ("STRASSE", "die straße"),
    ("ISTANBUL", "İstanbul'da"),
    ("find", "to ﬁnd"),
    ("full", "ＦＵＬＬ width"),
    ("東京", "昨日は東京へ行った"),
    ("かな", "ひらかなと"),
    ("が", "これがいい"),
    ("서울", "나는 서울에"),
    ("שלום", "אמר שלום לה"),
    ("мир", "МИР"),
    ("a\r\nb", "xa\nby"),
    ("100%", "100% sure"),
    ("_", "a_b"),
    ("'", "it's"),
    ('"', 'a "b"'),
    ("\\", "a\\b"),
]
UNLIKE = [
    ("東京", "京東"),
    ("か", "が"),
    ("하", "한"),
    ("100%", "100 of them"),
    ("a_b", "axb"),
    ("\u0301", "nothing"),
    ("a b", "a\nb"),
]


def found(owner: Owner, query: str) -> list[str]:
    rows: Any = selectors.generation_list(owner, query=query)
    return [row.prompt_excerpt for row in rows]


@pytest.mark.parametrize("state", ["done", "running"])  # folded, and not folded yet
class TestBoth:
    @pytest.mark.parametrize(("query", "text"), ALIKE)
    def test_it_is_found(
        self, make_generation: Make, owner: Owner, state: str, query: str, text: str
    ) -> None:
        make_generation(prompt="in the prompt: " + text, state=state)
        make_generation(prompt="in the text", text=text, state=state)
        make_generation(prompt="in neither", state=state)
        assert search.texts_fold() == (3 if state == "done" else 0)
        assert found(owner, query) == ["in the text", "in the prompt: " + text]

    @pytest.mark.parametrize(("query", "text"), UNLIKE)
    def test_it_is_not_found(
        self, make_generation: Make, owner: Owner, state: str, query: str, text: str
    ) -> None:
        make_generation(text=text, state=state)
        search.texts_fold()
        assert found(owner, query) == []


def test_words_that_begin_in_the_prompt_and_end_in_the_text_are_found(
    make_generation: Make, owner: Owner
) -> None:
    make_generation(prompt="It was a da", text="rk night", state="done")
    search.texts_fold()
    assert found(owner, "DARK") == ["It was a da"]


def test_texts_of_others_are_not_found(make_generation: Make) -> None:
    for state in ("done", "running"):
        make_generation(prompt="secret", state=state)
    search.texts_fold()
    assert found(Owner(visitor="b" * 32), "secret") == []


def test_each_text_is_folded_once_and_only_after_its_end(
    make_generation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FOLDED_AT_ONCE", 2)
    for state in ("queued", "running", "done", "cancelled", "failed"):
        make_generation(prompt="Été", text=" ÉTÉ", state=state)
    assert [search.texts_fold() for _ in range(3)] == [2, 1, 0]
    rows = dict(Generation.objects.values_list("state", "folded"))
    assert rows == {
        "queued": None,
        "running": None,
        "done": "ete ete",
        "cancelled": "ete ete",
        "failed": "ete ete",
    }


def test_reading_a_row_does_not_load_its_folded_text(make_generation: Make, owner: Owner) -> None:
    made = make_generation(parent=make_generation(state="done"), state="done")
    search.texts_fold()
    row = selectors.generation_of(owner, made.pk)
    assert row
    assert row.parent
    for read in (
        row,
        row.parent,
        selectors.generation_row(owner, made.pk),
        selectors.generation_list(owner)[0],
    ):
        assert "folded" in read.get_deferred_fields()


def test_the_migration_folds_existing_texts_that_have_ended(make_generation: Make) -> None:
    for state in ("done", "running"):
        make_generation(prompt="ÉTÉ", state=state)
    migration = importlib.import_module("generator.migrations.0007_search")
    migration.fold_ended(apps, SimpleNamespace(connection=connection))
    assert dict(Generation.objects.values_list("state", "folded")) == {
        "done": "ete",
        "running": None,
    }


def test_the_admin_finds_the_same(make_generation: Make, client: Client) -> None:
    make_generation(prompt="Un ÉTÉ, 100%", state="done")
    make_generation(prompt="Un hiver", state="running")
    search.texts_fold()
    client.force_login(User.objects.create_superuser("root"))
    for query, expected in {
        "ete": (True, False),
        "%": (True, False),
        "HIVER": (False, True),
        "": (True, True),
    }.items():
        page = client.get(
            "/admin/generator/generation/", {"q": query}, headers={"accept": "text/html"}
        ).content.decode()
        assert ("Un ÉTÉ" in page, "Un hiver" in page) == expected, query


@given(st.text(), st.text(), st.text())
def test_every_word_of_a_text_finds_it(before: str, word: str, after: str) -> None:
    text = f"{before} {word} {after}"
    assert folded(f" {word} ") in folded(text)
    assert folded(folded(text)) == folded(text)
