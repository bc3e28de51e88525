"""A text goes on from its end or from where it is cut, and what it becomes stands alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from generator import selectors
from generator.models import Generation, ModelVersion, Owner
from generator.parameters import Parameters
from tests.generator.conftest import OTHER_SAMPLING, make_version

Make = Callable[..., Generation]
HTML = {"accept": "text/html"}
FULL = "A manuscript may have {} characters at most. "


@pytest.fixture
def parent(make_generation: Make) -> Generation:
    """A text that has ended, with other settings than the defaults of a form."""
    return make_generation(
        prompt="One\U0001f600", text=" two three", state="done", top_k=9, stop=["x"], length=60
    )


def ask(client: Client, parent: Generation, **fields: Any) -> Any:
    return client.post(
        f"{parent.get_absolute_url()}continue/", json.dumps(fields), content_type="application/json"
    )


def child_of(answer: Any) -> Generation:
    assert answer.status_code == 201, answer.text
    return Generation.objects.get(pk=answer.json()["id"])


def test_a_text_goes_on_at_its_end_with_its_settings_and_a_new_seed(
    client: Client, parent: Generation
) -> None:
    child = child_of(ask(client, parent))
    assert (child.parent, child.fork_offset, child.prompt) == (
        parent,
        14,
        "One\U0001f600 two three",
    )
    assert (child.length, child.top_k, child.stop) == (60, 9, ["x"])
    assert child.seed != parent.seed
    assert child.state == "queued"


@pytest.mark.parametrize(
    ("cut", "typed", "prompt"),
    [
        (8, " or", "One\U0001f600 two or"),
        (3, "", "One"),
        (0, "\r\nNew", "\nNew"),
        (None, ".", "One\U0001f600 two three."),
    ],
    ids=["in the text", "in the prompt", "at the start", "at the end"],
)
def test_it_is_cut_by_code_points_and_what_is_typed_follows(
    client: Client, parent: Generation, cut: int | None, typed: str, prompt: str
) -> None:
    child = child_of(ask(client, parent, fork_offset=cut, typed=typed))
    assert (child.prompt, child.fork_offset) == (prompt, 14 if cut is None else cut)


def test_settings_that_are_given_count(client: Client, parent: Generation) -> None:
    other = make_version(2)
    child = child_of(ask(client, parent, **OTHER_SAMPLING, version=2))
    assert Parameters.of(child).columns() == {
        **OTHER_SAMPLING,
        "prompt": parent.manuscript,
        "model_version_id": other.pk,
        "parent_id": parent.pk,
        "fork_offset": 14,
    }


def test_it_stays_with_the_version_of_its_parent(
    client: Client, parent: Generation, live: ModelVersion
) -> None:
    ModelVersion.objects.update(is_live=False)
    make_version(2, is_live=True)
    assert child_of(ask(client, parent)).model_version == live


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("fork_offset", 15, "The fork offset is a whole number of characters"),
        ("fork_offset", -1, "The fork offset is a whole number of characters"),
        ("fork_offset", True, "The fork offset is a whole number of characters"),
        ("typed", "x" * 2_001, "What is typed may have 2,000 characters at most"),
        ("typed", "\ud800", "The text contains half of a character pair"),
        ("typed", "\ufdfa" * 300, "What is typed becomes too long"),
        ("typed", 5, "What is typed is text."),
        ("top_k", 91, "Top-k is a whole number from 1 to 90"),
        ("prompt", "Once", "There is no parameter"),
    ],
)
def test_a_field_that_is_refused_says_why(
    client: Client, parent: Generation, field: str, value: Any, sentence: str
) -> None:
    answer = ask(client, parent, **{field: value})
    assert answer.status_code == 400
    ((name, (said, *_)),) = answer.json()["errors"].items()
    assert (name, said.startswith(sentence)) == ("__all__" if field == "prompt" else field, True)
    assert Generation.objects.count() == 1


def test_what_is_typed_is_limited_and_what_is_kept_only_by_the_manuscript(
    client: Client, make_generation: Make, settings: Any
) -> None:
    settings.MANUSCRIPT_MAX_LENGTH = 5_000
    parent = make_generation(prompt="p" * 2_000, text="t" * 2_950, state="done", length=50)
    assert len(child_of(ask(client, parent)).prompt) == 4_950
    said = [
        ask(client, parent, **fields).json()["errors"]["__all__"][0]
        for fields in ({"typed": "x"}, {"length": 51}, {"typed": "x" * 50})
    ]
    full = FULL.format("5,000")
    assert said == [
        f"{full}Ask for a length of 49 or less.",
        f"{full}Ask for a length of 50 or less.",
        f"{full}Begin a new text with the last lines of this one.",
    ]


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_text_that_is_being_written_is_409(
    client: Client, make_generation: Make, state: str
) -> None:
    parent = make_generation(state=state, text="so far")
    answer = ask(client, parent)
    assert (answer.status_code, "Retry-After" in answer) == (409, False)
    assert answer.json()["errors"]["__all__"] == [
        "This text is still being written. Continue it when it has ended, or stop it."
    ]
    page = client.post(f"{parent.get_absolute_url()}continue/", headers=HTML)
    assert (page.status_code, "still being written" in page.text) == (409, True)


@pytest.mark.parametrize("state", ["cancelled", "failed"])
def test_a_text_that_was_stopped_or_failed_goes_on_too(
    client: Client, make_generation: Make, state: str
) -> None:
    assert child_of(ask(client, make_generation(state=state, text=" a"))).prompt == "Once a"


def test_nobody_continues_the_text_of_another(stranger: Client, parent: Generation) -> None:
    assert ask(stranger, parent).status_code == 404
    assert Generation.objects.count() == 1


def test_a_submit_that_is_sent_twice_makes_one_child_and_limits_hold(
    client: Client, parent: Generation, settings: Any
) -> None:
    first, second = (child_of(ask(client, parent, client_key="once")) for _ in range(2))
    assert first == second
    assert ask(client, parent, client_key="once", fork_offset=3).status_code == 409
    settings.OWNER_MAX_ACTIVE = 1
    answer = ask(client, parent)
    assert (answer.status_code, len(answer.json()["active"])) == (429, 1)
    page = client.post(f"{parent.get_absolute_url()}continue/", {"length": "7"}, headers=HTML)
    assert (page.status_code, "You have 1 texts being written" in page.text) == (429, True)
    assert 'name="length" value="7"' in page.text


def test_a_page_sends_its_settings_and_leads_to_the_new_part(
    client: Client, parent: Generation
) -> None:
    page = client.get(parent.get_absolute_url(), headers=HTML)
    assert 'value="60"' in page.text
    assert "Version 1, as before" in page.text
    (key,) = re.findall(
        r'id="continue-form".*?name="client_key" value="(\w+)"', page.text, re.DOTALL
    )
    sent = {"length": "30", "temperature": "0.5", "top_k": "", "top_p": "", "stop": "", "seed": ""}
    answer = client.post(
        f"{parent.get_absolute_url()}continue/",
        {**sent, "version": "", "client_key": key},
        headers=HTML,
    )
    child = Generation.objects.get(parent=parent)
    assert (answer.status_code, answer["Location"]) == (302, f"{child.get_absolute_url()}#new-part")
    assert (child.length, child.top_k, child.stop, child.prompt) == (
        30,
        None,
        [],
        parent.manuscript,
    )
    wrong = client.post(
        f"{parent.get_absolute_url()}continue/", {"length": "0", "fork_offset": "99"}, headers=HTML
    )
    assert wrong.status_code == 400
    assert "Length is a whole number" in wrong.text
    assert "The fork offset is" in wrong.text


def test_pages_lead_from_a_text_to_its_continuations_and_back(
    client: Client, parent: Generation, make_generation: Make
) -> None:
    child = make_generation(
        parent=parent, fork_offset=14, prompt=parent.manuscript, text=" four <", state="done"
    )
    make_generation(parent=parent, text="a repetition")
    page = client.get(parent.get_absolute_url(), headers=HTML).text
    assert re.findall(r'<li><a href="([^"]+)"><bdi>([^<]+)</bdi>', page) == [
        (f"{child.get_absolute_url()}#new-part", " four &lt;")
    ]
    page = client.get(child.get_absolute_url(), headers=HTML).text
    assert f'Continued from <a href="{parent.get_absolute_url()}"' in page
    assert "data-continuations" not in page
    parent.delete()
    page = client.get(child.get_absolute_url(), headers=HTML).text
    assert "Continued from a text that was deleted." in page


def test_a_continuation_is_no_repetition_and_its_own_repetition_is_judged(
    client: Client, parent: Generation, make_generation: Make
) -> None:
    """Cut where its prompt ends, with the same seed, a continuation equals its parent."""
    same = child_of(ask(client, parent, fork_offset=4, seed=parent.seed))
    assert Parameters.of(same) == Parameters.of(parent)
    Generation.objects.filter(pk=same.pk).update(state="done", text="anything")
    same.refresh_from_db()
    assert selectors.replay_verdict(same) == ""
    answer = client.post(f"{same.get_absolute_url()}again/", {"seed": "same"})
    repeated = child_of(answer)
    assert (repeated.parent, repeated.fork_offset, repeated.prompt) == (same, None, same.prompt)
    repeated.state, repeated.text = "done", same.text
    assert selectors.replay_verdict(repeated) == "identical"


def test_another_with_a_new_seed_is_a_sibling(client: Client, parent: Generation) -> None:
    child = child_of(ask(client, parent))
    other = child_of(client.post(f"{child.get_absolute_url()}again/", {"seed": "new"}))
    assert (other.parent, other.fork_offset, other.prompt) == (parent, 14, child.prompt)
    assert other.seed != child.seed


def test_a_child_is_exported_alone_and_names_its_parent(
    client: Client, parent: Generation, make_generation: Make
) -> None:
    child = make_generation(
        parent=parent, fork_offset=14, prompt=parent.manuscript, text=" four", state="done"
    )
    document = client.get(f"{child.get_absolute_url()}export.json").json()
    assert (document["parent"], document["fork_offset"]) == (str(parent.pk), 14)
    assert document["prompt"] + document["text"] == "One\U0001f600 two three four"
    whole = client.get(f"{child.get_absolute_url()}export.txt").content.decode()
    assert whole == child.manuscript


def test_a_list_shows_where_a_continuation_begins(
    parent: Generation, make_generation: Make, owner: Owner
) -> None:
    make_generation(parent=parent, fork_offset=900, prompt="a" * 800 + "b" * 100, text="new")
    row: Any = selectors.generation_list(owner)[0]
    assert row.prompt_excerpt == "b" * 80


def test_a_long_manuscript_is_shown_whole_and_sent_once(
    client: Client, make_generation: Make
) -> None:
    child = make_generation(prompt="long " * 10_000, text="new", state="done", fork_offset=50_000)
    page = client.get(child.get_absolute_url(), headers=HTML).text
    assert page.count("long " * 10_000) == 1
    assert "Edit and run" not in page
    assert client.get(child.get_absolute_url()).text.count("long " * 10_000) == 1
