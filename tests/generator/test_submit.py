"""What a submit answers: 201 for what can be written, and for everything else a reason at the field and nothing stored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from charrnn_site.logs import RefusalsWithoutTraceback
from generator.models import SEED_LIMIT, Generation, ModelVersion, Owner
from tests.generator.conftest import make_version

GOOD = {"prompt": "It was", "length": 100, "temperature": 0.7}


def submit(client: Client, **fields: Any) -> Any:
    return client.post("/generations/", json.dumps({**GOOD, **fields}), content_type="application/json")


def test_a_good_submit_is_stored_and_answered_with_its_addresses(client: Client, live: ModelVersion, owner: Owner) -> None:
    response = submit(client, top_k=20, top_p=0.9, stop=["\n\n"], seed=5, version=1)
    assert response.status_code == 201
    row = Generation.objects.get()
    assert response.json() == {
        "id": str(row.pk),
        "url": f"/generations/{row.pk}/",
        "socket": f"/ws/generations/{row.pk}/",
        "seed": "5",
    }
    assert (row.visitor, row.state, row.prompt, row.length, row.top_k) == (owner.visitor, "queued", "It was", 100, 20)
    assert (row.top_p, row.stop, row.seed, row.model_version) == (0.9, ["\n\n"], 5, live)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", "x" * 2001),
        ("prompt", "\0"),
        ("prompt", "half a pair \ud83d"),
        ("prompt", "\ufdfa" * 2000),  # one ligature that is eighteen letters
        ("prompt", None),
        ("prompt", 5),
        ("prompt", ["a"]),
        ("temperature", -1),
        ("temperature", 1e308),
        ("temperature", 10**400),
        ("temperature", True),
        ("temperature", "1"),
        ("temperature", None),
        ("temperature", {}),
        ("top_k", 0),
        ("top_k", 91),
        ("top_k", 1.5),
        ("top_k", True),
        ("top_p", 0),
        ("top_p", 1.0001),
        ("top_p", -0.5),
        ("top_p", 10**400),
        ("top_p", "0.5"),
        ("length", 0),
        ("length", -1),
        ("length", 1.5),
        ("length", 1e9),
        ("length", 10**9),
        ("length", True),
        ("length", None),
        ("seed", -1),
        ("seed", SEED_LIMIT),
        ("seed", 1.5),
        ("seed", True),
        ("seed", "many"),
        ("stop", [f"stop {i}" for i in range(17)]),
        ("stop", ["x" * 41]),
        ("stop", [1]),
        ("stop", [["a"]]),
        ("stop", ["\ud83d"]),
        ("stop", ["a\0b"]),
        ("stop", ["\ufeff"]),
        ("stop", "text"),
        ("version", 99),
        ("version", -1),
        ("version", "latest"),
        ("parent", "7b1c5b0e-5bd3-44a5-9a5e-0f3ad7a1f0a1"),
        ("parent", "not an id"),
        ("client_key", "k" * 65),
        ("client_key", 1),
        ("client_key", "\ud800"),
    ],
)
def test_a_bad_field_is_refused_at_the_field(client: Client, live: ModelVersion, field: str, value: object) -> None:
    response = submit(client, **{field: value})
    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]
    assert not Generation.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"[" * 100_000,
        b'{"temperature": NaN}',
        b'{"temperature": Infinity}',
        b"\xff\xfe",
        b"{}x",
    ],
)
def test_a_body_that_is_no_json_object_is_refused(client: Client, live: ModelVersion, body: bytes) -> None:
    response = client.post("/generations/", body, content_type="application/json")
    assert response.status_code == 400
    assert response.json()["errors"]
    assert not Generation.objects.exists()


def test_an_unknown_parameter_is_named(client: Client, live: ModelVersion) -> None:
    response = submit(client, temprature=0.5)
    assert response.status_code == 400
    assert "temprature" in response.json()["errors"]["__all__"][0]


@pytest.mark.parametrize("seed", [0, SEED_LIMIT - 1, SEED_LIMIT // 2, str(SEED_LIMIT - 1)])
def test_every_64_bit_seed_is_kept_exactly(client: Client, live: ModelVersion, seed: int | str) -> None:
    response = submit(client, seed=seed)
    assert response.status_code == 201
    assert response.json()["seed"] == str(seed)
    assert Generation.objects.get(seed=int(seed)).seed == int(seed)
    assert client.get(response.json()["url"]).json()["seed"] == str(seed)


@pytest.mark.parametrize("prompt", ["", "a\u0301" * 1000, "<script>alert(1)</script>", "{{ 7*7 }}{% debug %}", "☃", "  \n "])
def test_any_text_is_a_prompt(client: Client, live: ModelVersion, prompt: str) -> None:
    assert submit(client, prompt=prompt).status_code == 201
    assert Generation.objects.get().prompt == prompt


def test_a_form_submit_redirects_to_the_permalink_and_keeps_line_ends_plain(live: ModelVersion) -> None:
    browser = Client()
    response = browser.post("/generations/", {"prompt": "one\r\ntwo", "length": "50", "temperature": "0.5", "stop": "a\r\n\r\nb"})
    row = Generation.objects.get()
    assert (response.status_code, response["Location"]) == (302, f"/generations/{row.pk}/")
    assert (row.prompt, row.stop) == ("one\ntwo", ["a", "b"])
    assert browser.get(f"/generations/{row.pk}/").status_code == 200


def test_what_is_left_out_has_its_default(client: Client, live: ModelVersion) -> None:
    assert client.post("/generations/", "{}", content_type="application/json").status_code == 201
    row = Generation.objects.get()
    assert (row.prompt, row.length, row.temperature, row.top_k) == ("", 500, 0.7, None)


def test_a_random_seed_differs_from_submit_to_submit(client: Client, live: ModelVersion) -> None:
    assert len({submit(client).json()["seed"] for _ in range(3)}) == 3


def test_the_same_client_key_makes_one_generation(client: Client, live: ModelVersion) -> None:
    first, second = (submit(client, client_key="once").json()["id"] for _ in range(2))
    assert first == second
    assert Generation.objects.count() == 1


def test_a_chosen_version_is_pinned(client: Client, live: ModelVersion) -> None:
    other = make_version(2)
    submit(client, version=2)
    assert Generation.objects.get().model_version == other


def test_more_than_the_limit_under_way_is_429_with_retry_after(client: Client, live: ModelVersion, settings: Any) -> None:
    settings.OWNER_MAX_ACTIVE = 2
    assert [submit(client).status_code for _ in range(3)] == [201, 201, 429]
    refused = submit(client)
    assert int(refused["Retry-After"]) > 0
    assert "2 texts" in refused.json()["errors"]["__all__"][0]


def test_a_full_queue_is_503_with_retry_after(client: Client, stranger: Client, live: ModelVersion, settings: Any) -> None:
    settings.QUEUE_MAX_LENGTH = 1
    assert submit(stranger).status_code == 201
    refused = submit(client)
    assert (refused.status_code, refused["Retry-After"]) == (503, "15")


def test_without_a_live_version_the_page_says_so(client: Client) -> None:
    refused = submit(client)
    assert refused.status_code == 503
    assert "No model is live" in refused.json()["errors"]["__all__"][0]


def test_a_submit_without_csrf_token_is_403(live: ModelVersion) -> None:
    response = Client(enforce_csrf_checks=True).post("/generations/", GOOD)
    assert response.status_code == 403
    assert not Generation.objects.exists()


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_a_wrong_method_is_405(client: Client, live: ModelVersion, method: str) -> None:
    assert getattr(client, method)("/generations/").status_code == 405


def test_a_body_that_is_too_large_is_400_as_json_and_one_line_in_the_log(
    client: Client, live: ModelVersion, caplog: pytest.LogCaptureFixture
) -> None:
    response = client.post("/generations/", b" " * 300_000, content_type="application/json")
    assert response.status_code == 400
    assert response.json()["errors"]
    (record,) = [record for record in caplog.records if record.name.startswith("django.security")]
    assert RefusalsWithoutTraceback().filter(record)
    assert record.exc_info is None


def test_head_is_a_get_without_a_body(client: Client, live: ModelVersion) -> None:
    assert [client.head(path).status_code for path in ("/", "/history/", "/healthz")] == [200, 200, 200]


def test_a_wrong_host_is_400(client: Client, live: ModelVersion) -> None:
    assert client.get("/healthz", headers={"host": "evil.example"}).status_code == 400
