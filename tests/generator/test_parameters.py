"""No sampling parameter is left out of a row, a comparison, a form or an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from generator import selectors
from generator.models import Generation, ModelVersion
from generator.parameters import Parameters
from generator.web import ranges
from generator.web.forms import GenerationForm
from ml.sampling import Sampling
from tests.generator.conftest import OTHER_SAMPLING, make_version

Make = Callable[..., Generation]
NAMES = [field.name for field in fields(Sampling)]

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "length": st.integers(1, 10**6),
    "temperature": st.floats(0, 100),
    "top_k": st.none() | st.integers(1, 5_000),
    "top_p": st.none() | st.floats(0, 1, exclude_min=True),
    "stop": st.lists(st.text(min_size=1), max_size=4).map(tuple),
    "seed": st.integers(0, 2**64 - 1),
}
every_parameters = st.builds(
    Parameters,
    prompt=st.text(),
    sampling=st.builds(Sampling, **{name: VALUES[name] for name in NAMES}),
    version_id=st.integers(1, 10**6),
    parent_id=st.none() | st.uuids(),
    fork_offset=st.none() | st.integers(0, 10**6),
)


@given(every_parameters)
def test_what_is_stored_is_what_was_asked_for(parameters: Parameters) -> None:
    read = Parameters.of(Generation(**parameters.columns()))
    assert (read, read.parent_id, read.fork_offset) == (
        parameters,
        parameters.parent_id,
        parameters.fork_offset,
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_has_a_column_a_field_and_a_sentence(name: str) -> None:
    assert Generation._meta.get_field(name)
    assert name in GenerationForm.base_fields
    assert ranges.sentence(name)


def test_every_parameter_reaches_its_column_and_the_answer(
    client: Client, live: ModelVersion
) -> None:
    asked = {"prompt": "It was", **{name: OTHER_SAMPLING[name] for name in NAMES}}
    answer = client.post("/generations/", asked, content_type="application/json")
    row = Generation.objects.get()
    assert Parameters.of(row).columns() == {
        **asked,
        "model_version_id": live.pk,
        "parent_id": None,
        "fork_offset": None,
    }
    shown = client.get(answer.json()["url"]).json()
    assert {name: shown[name] for name in NAMES} == {
        **OTHER_SAMPLING,
        "seed": str(OTHER_SAMPLING["seed"]),
    }


@pytest.mark.parametrize("name", ["prompt", "model_version", *NAMES])
def test_a_text_with_another_parameter_is_no_replay(make_generation: Make, name: str) -> None:
    parent = make_generation(state="done", text="same")
    other = {"prompt": "Twice", "model_version": make_version(2), **OTHER_SAMPLING}[name]
    child = make_generation(parent=parent, state="done", text="other")
    assert selectors.replay_verdict(child) == "different"
    setattr(child, name, other)
    assert selectors.replay_verdict(child) == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_form_with_another_parameter_is_another_form(name: str) -> None:
    asked = asked_with({})
    assert asked.digest == asked_with({}).digest
    assert asked.digest != asked_with({name: OTHER_SAMPLING[name]}).digest


def test_a_form_without_a_seed_is_the_same_form_with_another_seed() -> None:
    first, second = (asked_with({"seed": None}) for _ in range(2))
    assert first.sampling.seed != second.sampling.seed
    assert first.digest == second.digest
    assert first.digest != replace(first, seed_is_new=False).digest


def asked_with(changes: dict[str, Any]) -> Parameters:
    values = dict.fromkeys(NAMES) | {"length": 100, "temperature": 0.7, "stop": [], "seed": 7}
    return Parameters.asked({"prompt": "Once", **values, **changes})
