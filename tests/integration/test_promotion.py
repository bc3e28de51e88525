"""Making a version live, with the real registry, housekeeping and worker."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from tests.integration.test_stream import export, text_of
from tests.stack import EVERYTHING, Stack, wait_until
from tests.visitor import Visitor

ADMIN = """
from django.contrib.auth.models import User
User.objects.create_superuser("root", password="a-long-enough-one")
"""
LIVE = "SELECT version FROM generator_modelversion WHERE is_live"


@pytest.fixture
def own_stack(make_stack: Any) -> Stack:
    running: Stack = make_stack(*EVERYTHING)
    running.manage("shell", "-c", ADMIN)
    return running


@pytest.fixture
def admin(own_stack: Stack) -> Visitor:
    admin = own_stack.visitor()
    admin.post("/admin/login/?next=/admin/", {"username": "root", "password": "a-long-enough-one"})
    return admin


def live(stack: Stack) -> int:
    return int(stack.rows(LIVE)[0]["version"])


def other_than(stack: Stack, version: int) -> dict[str, Any]:
    return stack.rows(
        "SELECT id, version, digest FROM generator_modelversion WHERE version != ?", version
    )[0]


def champion(stack: Stack) -> int:
    code = (
        "from mlflow import MlflowClient; from django.conf import settings as s; "
        "c = MlflowClient(s.MLFLOW_TRACKING_URI, s.MLFLOW_TRACKING_URI); "
        "print('champion', c.get_model_version_by_alias('charrnn', 'champion').version)"
    )
    return int(stack.manage("shell", "-c", code).stdout.split("champion")[1])


def last_entry(stack: Stack) -> dict[str, Any]:
    return stack.rows("SELECT * FROM generator_promotion ORDER BY id DESC LIMIT 1")[0]


def make_live(admin: Visitor, row_id: int) -> str:
    fields = {"action": "make_live", "_selected_action": row_id}
    return admin.post("/admin/generator/modelversion/", fields).text


async def test_make_live_moves_alias_and_row_and_running_texts_keep_their_version(
    own_stack: Stack, admin: Visitor
) -> None:
    before = live(own_stack)
    target = other_than(own_stack, before)
    visitor = own_stack.visitor()
    running = visitor.submit(length=20_000, seed=1)["id"]
    page = make_live(admin, target["id"])
    said = f"Version {target['version']} is "
    # "being checked" on a busy machine.
    assert f"{said}live" in page or f"{said}being checked" in page
    wait_until(lambda: last_entry(own_stack)["outcome"] != "requested", "housekeeping answers", 60)
    after = visitor.submit(length=20, seed=1)["id"]
    assert (live(own_stack), champion(own_stack)) == (target["version"], target["version"])
    assert export(visitor, after)["model"]["version"] == target["version"]
    assert len(text_of(await visitor.frames(running))) == 20_000
    assert export(visitor, running)["model"]["version"] == before
    assert last_entry(own_stack)["outcome"] == "done"
    assert last_entry(own_stack)["requested_by_id"] is not None


def test_a_version_with_a_flipped_byte_is_refused_and_the_old_one_stays_live(
    own_stack: Stack, admin: Visitor
) -> None:
    before = live(own_stack)
    target = other_than(own_stack, before)
    graph = own_stack.data_dir / "versions" / target["digest"] / "step.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    make_live(admin, target["id"])
    wait_until(lambda: last_entry(own_stack)["outcome"] != "requested", "housekeeping answers", 60)
    assert (live(own_stack), champion(own_stack)) == (before, before)
    refused = last_entry(own_stack)
    assert refused["outcome"] == "refused"
    assert "step.onnx" in refused["evidence"]
    visitor = own_stack.visitor()
    generation_id = visitor.submit(length=20)["id"]
    wait_until(
        lambda: export(visitor, generation_id)["state"] == "done", "the old version serves", 20
    )


def test_an_alias_moved_outside_the_admin_is_followed_and_recorded_in_the_ledger(
    own_stack: Stack,
) -> None:
    target = other_than(own_stack, live(own_stack))
    code = (
        "from mlflow import MlflowClient; from django.conf import settings as s; "
        "c = MlflowClient(s.MLFLOW_TRACKING_URI, s.MLFLOW_TRACKING_URI); "
        f"c.set_registered_model_alias('charrnn', 'champion', '{target['version']}')"
    )
    own_stack.manage("shell", "-c", code)
    wait_until(lambda: live(own_stack) == target["version"], "the moved alias is followed", 40)
    entry = last_entry(own_stack)
    assert (entry["outcome"], entry["requested_by_id"], entry["to_version_id"]) == (
        "done",
        None,
        target["id"],
    )


def test_a_version_whose_files_are_gone_is_fetched_again(own_stack: Stack) -> None:
    target = other_than(own_stack, live(own_stack))
    shutil.rmtree(own_stack.data_dir / "versions" / target["digest"])
    visitor = own_stack.visitor()
    generation_id = visitor.submit(length=30, version=target["version"])["id"]
    wait_until(
        lambda: export(visitor, generation_id)["state"] == "done", "the fetched version writes", 60
    )
    assert (own_stack.data_dir / "versions" / target["digest"] / "model.json").exists()
