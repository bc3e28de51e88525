"""History: newest first, searched and filtered.

Odd addresses are in tests/integration/test_bad_history.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from generator import selectors
from generator.models import Generation, Owner
from generator.parameters import Parameters
from tests.generator.conftest import make_version

Make = Callable[..., Generation]


def shown(owner: Owner, **filters: Any) -> list[str]:
    rows: Any = selectors.generation_list(owner, **filters)
    return [row.prompt_excerpt for row in rows]


def test_newest_first(make_generation: Make, owner: Owner) -> None:
    for prompt in ("first", "second", "third"):
        make_generation(prompt=prompt)
    assert shown(owner) == ["third", "second", "first"]


def test_search_looks_into_prompt_and_text(make_generation: Make, owner: Owner) -> None:
    make_generation(prompt="The Whale", text="far away")
    make_generation(prompt="A cat", text="and a whale")
    make_generation(prompt="A dog", text="barked")
    assert shown(owner, query="whale") == ["A cat", "The Whale"]


@pytest.mark.parametrize("character", ["%", "_", "'", '"', "\\", "--", ";"])
def test_search_takes_every_character_literally(
    make_generation: Make, owner: Owner, character: str
) -> None:
    make_generation(prompt="plain")
    make_generation(prompt=f"with {character} in it")
    assert shown(owner, query=character) == [f"with {character} in it"]


def test_filters_by_version_and_state(make_generation: Make, owner: Owner) -> None:
    make_generation(prompt="old", model_version=make_version(2), state="done")
    make_generation(prompt="failed", state="failed")
    make_generation(prompt="done", state="done")
    assert shown(owner, version=2) == ["old"]
    assert shown(owner, state="failed") == ["failed"]
    assert shown(owner, version=1, state="done") == ["done"]
    assert shown(owner, version=77) == []


def test_a_list_does_not_read_whole_texts(make_generation: Make, owner: Owner) -> None:
    make_generation(text="x" * 5000)
    row: Any = selectors.generation_list(owner)[0]
    assert {"text", "prompt"} <= row.get_deferred_fields()
    assert (len(row.text_excerpt), row.text_length) == (selectors.EXCERPT, 5000)


def test_pages_hold_twenty(client: Client, make_generation: Make) -> None:
    for number in range(21):
        make_generation(prompt=f"prompt number {number:02d}.")
    first, second = (client.get(f"/history/?page={page}").content.decode() for page in (1, 2))
    assert first.count("prompt number") == 20
    assert "prompt number 00." in second
    assert "prompt number 01." not in second


def test_export_as_text_is_prompt_and_text(client: Client, make_generation: Make) -> None:
    response = client.get(
        f"{make_generation(prompt='One ', text='two é').get_absolute_url()}export.txt"
    )
    assert response.content.decode() == "One two é"
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["Content-Disposition"].startswith("attachment;")


def test_export_as_json_has_everything_needed_to_repeat_a_text(
    client: Client, make_generation: Make
) -> None:
    generation = make_generation(text="two", seed=2**64 - 1, top_k=5, top_p=0.5, stop=["x"])
    document = client.get(f"{generation.get_absolute_url()}export.json").json()
    expected = {
        "prompt": "Once",
        "text": "two",
        "sha256": generation.sha256,
        "seed": "18446744073709551615",
        "length": 100,
        "temperature": 0.7,
        "top_k": 5,
        "top_p": 0.5,
        "stop": ["x"],
    }
    assert {name: document[name] for name in expected} == expected
    assert document["model"] == {"name": "charrnn", "version": 1, "digest": f"{1:064x}"}


def test_delete_removes_the_row(client: Client, make_generation: Make) -> None:
    generation = make_generation(state="done")
    assert client.post(f"{generation.get_absolute_url()}delete/").status_code == 204
    assert not Generation.objects.exists()


@pytest.mark.parametrize(
    ("back", "address"),
    [
        (
            "q=%25+%C3%A9t%C3%A9&state=done&version=1&page=2",
            "/history/?q=%25+%C3%A9t%C3%A9&version=1&state=done&page=2",
        ),
        ("page=2", "/history/?page=2"),
        ("", "/history/"),
        ("q=", "/history/"),
        ("other=1&page=3", "/history/?page=3"),
        ("//evil.example/", "/history/"),
        ("https://evil.example/?page=1", "/history/"),
        ("q=%0d%0aSet-Cookie:+x=y", "/history/?q=%0D%0ASet-Cookie%3A+x%3Dy"),
    ],
)
def test_delete_returns_to_the_history_as_it_was_searched(
    client: Client, make_generation: Make, back: str, address: str
) -> None:
    generation = make_generation(state="done")
    answer = client.post(
        f"{generation.get_absolute_url()}delete/", {"back": back}, headers={"accept": "text/html"}
    )
    assert (answer.status_code, answer["Location"]) == (302, address)


def test_deleting_a_parent_keeps_the_child(client: Client, make_generation: Make) -> None:
    parent = make_generation(state="done")
    child = make_generation(parent=parent)
    client.post(f"{parent.get_absolute_url()}delete/")
    child.refresh_from_db()
    assert child.parent is None


def test_run_again_repeats_seed_and_version(client: Client, make_generation: Make) -> None:
    old = make_version(2)
    generation = make_generation(seed=42, top_k=9, stop=["x"], model_version=old, state="done")
    response = client.post(f"{generation.get_absolute_url()}again/", {"seed": "same"})
    again = Generation.objects.get(pk=response.json()["id"])
    assert Parameters.of(again) == Parameters.of(generation)
    assert again.parent == generation


def test_generate_again_draws_a_new_seed(client: Client, make_generation: Make) -> None:
    generation = make_generation(seed=42)
    response = client.post(f"{generation.get_absolute_url()}again/", {"seed": "new"})
    assert response.json()["seed"] != "42"


def test_a_replay_is_judged_by_its_hash(make_generation: Make) -> None:
    parent = make_generation(state="done", text="same")
    verdicts = [
        selectors.replay_verdict(make_generation(parent=parent, **{"state": "done", **fields}))
        for fields in (
            {"text": "same"},
            {"text": "other"},
            {"text": "same", "seed": 8},
            {"text": "sa", "state": "running"},
        )
    ]
    assert verdicts == ["identical", "different", "", ""]
