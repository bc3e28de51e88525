"""F11 to F13: a switch of the live version, bad versions, and no registry, under load."""

from __future__ import annotations

import asyncio
import html
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import requests

from tests.faults.bad_versions import ABSENT, BAD, bad_version, register, spoil
from tests.faults.harness import NO_LIMITS, PROMPT, SEEDS, Load, References, Result
from tests.integration.test_promotion import last_entry, live, make_live, other_than
from tests.integration.test_registry import UNAVAILABLE, VERSIONS
from tests.mlflow_server import MlflowServer
from tests.stack import EVERYTHING, Stack, wait_until
from tests.visitor import Visitor

SHORT = 300  # characters of texts submitted during a switch
STAFF = """
from django.contrib.auth.models import Permission, User
sam = User.objects.create_user("sam", password="a-long-enough-one", is_staff=True)
names = ["view_modelversion", "promote_modelversion"]
sam.user_permissions.set(Permission.objects.filter(codename__in=names))
"""


@dataclass
class Product:
    """The running product with its registry and its bad versions."""

    stack: Stack
    registry: MlflowServer
    staff: Visitor
    bad: dict[str, dict[str, Any]]  # fault → row of the version
    sources: dict[str, Path]  # fault → folder of its files in the registry


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The short form kills the registry's process; the full form also freezes it."""
    if "way" in metafunc.fixturenames:
        full = metafunc.config.getoption("--faults") == "full"
        metafunc.parametrize("way", ["silent", "killed"] if full else ["killed"])


@pytest.fixture(scope="module")
def product(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The whole product and a real MLflow server, with versions that are bad by now."""
    home = tmp_path_factory.mktemp("versions")
    data_dir = Path(shutil.copytree(prepared, home / "var"))
    names = [*BAD, *ABSENT]
    sources = dict(
        zip(
            names,
            register(data_dir, [bad_version(home / name, name) for name in names]),
            strict=True,
        )
    )
    with MlflowServer(data_dir) as registry:
        registry.start()
        with Stack(data_dir, {**NO_LIMITS, "MLFLOW_TRACKING_URI": registry.url}) as stack:
            stack.start(*EVERYTHING)
            stack.manage("shell", "-c", STAFF)
            staff = stack.visitor()
            staff.post(
                "/admin/login/?next=/admin/", {"username": "sam", "password": "a-long-enough-one"}
            )
            registry.wait_ready()
            titles = "SELECT id, version, title, digest FROM generator_modelversion"
            wait_until(
                lambda: len(stack.rows(titles)) >= 3 + len(names),
                "the registered versions are mirrored",
            )
            rows = {row["title"]: row for row in stack.rows(titles) if row["title"] in names}
            spoil(data_dir / "versions", rows, sources)
            yield Product(stack, registry, staff, rows, sources)


def champion(registry: MlflowServer) -> int:
    """Return the version of the alias `champion` according to MLflow's HTTP interface."""
    with requests.Session() as http:
        http.trust_env = False
        path = "/api/2.0/mlflow/registered-models/alias"
        answer = http.get(
            registry.url + path, params={"name": "charrnn", "alias": "champion"}, timeout=10
        )
    return int(answer.json()["model_version"]["version"])


async def make_live_and_wait(product: Product, row_id: int) -> tuple[str, dict[str, Any]]:
    """Make a version live as staff; return the page and the ledger's closed entry."""
    page = await asyncio.to_thread(make_live, product.staff, row_id)

    def closed() -> dict[str, Any] | None:
        entry = last_entry(product.stack)
        return (
            entry if entry["to_version_id"] == row_id and entry["outcome"] != "requested" else None
        )

    return page, await asyncio.to_thread(wait_until, closed, "housekeeping answers", 90)


def versions_of(load: Load) -> dict[str, int]:
    """Return id → the version that wrote each generation of a load."""
    joined = "generator_generation g JOIN generator_modelversion v ON v.id = g.model_version_id"
    versions = {
        str(UUID(row["id"])): row["version"]
        for row in load.stack.rows(f"SELECT g.id, v.version FROM {joined}")
    }
    return {generation_id: versions[generation_id] for generation_id in load.accepted}


async def test_f11_a_switch_under_load_fails_nobody(product: Product) -> None:
    stack, before = product.stack, live(product.stack)
    target = other_than(stack, before)
    references = {before: References(stack)}
    sent: dict[str, float] = {}  # id → moment
    async with (
        Load(stack, references[before], length=12_000) as running,
        Load(stack, references[before], count=0, length=SHORT) as steady,
    ):
        await running.under_way()
        began = time.monotonic()
        switch = asyncio.create_task(make_live_and_wait(product, target["id"]))
        acknowledged: list[float] = []
        switch.add_done_callback(lambda _: acknowledged.append(time.monotonic()))
        while (
            sum(moment > acknowledged[0] for moment in sent.values()) < 10 if acknowledged else True
        ):
            moment = time.monotonic()
            sent[(await steady.submit(SEEDS[0])).id] = moment
        page, entry = switch.result()
        assert (entry["outcome"], live(stack)) == ("done", target["version"])
        assert f"Version {target['version']} is " in page
        await running.finish()
        await steady.finish()
        took = acknowledged[0] - began
        under_way = sum(watcher.arrivals[-1][0] > acknowledged[0] for watcher in running.watchers)
        running.result(
            "F11 running", **{"switch s": round(took, 1), "under way then": under_way}
        ).save()
        references[target["version"]] = References(stack)
        used = versions_of(steady)
        wrong = [
            f"{watcher.id} by version {used[watcher.id]}: {watcher.errors}"
            for watcher in steady.watchers
            if watcher.errors
            or watcher.text != references[used[watcher.id]].text(SEEDS[0], SHORT)
            or (sent[watcher.id] > acknowledged[0] and used[watcher.id] != target["version"])
        ]
        done = sum(
            watcher.end is not None and watcher.end["state"] == "done"
            for watcher in steady.watchers
        )
    assert set(versions_of(running).values()) == {before}
    assert under_way
    notes = {"after the switch": sum(moment > acknowledged[0] for moment in sent.values())}
    Result(
        "F11 steady", len(sent), done, len(sent) - done, len(wrong), 0, 0.0, None, wrong, notes
    ).save()


async def test_f12_a_bad_version_is_refused_and_the_old_one_stays_live(product: Product) -> None:
    stack, before = product.stack, live(product.stack)
    async with Load(stack, References(stack), seeds=SEEDS[:2]) as load:
        await load.under_way()
        for name, evidence in BAD.items():
            page, entry = await make_live_and_wait(product, product.bad[name]["id"])
            assert entry["outcome"] == "refused"
            assert evidence in entry["evidence"]
            assert (
                f"was not made live: <bdi>{html.escape(entry['evidence'])}</bdi>" in page
                or "is being checked" in page
            )
            assert (live(stack), await asyncio.to_thread(champion, product.registry)) == (
                before,
                before,
            )
            await load.submit(SEEDS[0])
        await load.finish()
        load.result("F12", refused=len(BAD)).save()
    assert set(versions_of(load).values()) == {before}


async def test_a_version_that_the_registry_does_not_have_is_not_requested_again(
    product: Product,
) -> None:
    stack, visitor = product.stack, product.stack.visitor()
    numbers = {name: product.bad[name]["version"] for name in ABSENT}
    stack.freeze("housekeeping")  # it would remove them from the desk too soon
    try:
        with requests.Session() as http:
            http.trust_env = False
            body = {"name": "charrnn", "version": str(numbers["deleted"])}
            http.delete(
                f"{product.registry.url}/api/2.0/mlflow/model-versions/delete",
                json=body,
                timeout=10,
            ).raise_for_status()
        shutil.rmtree(product.sources["emptied"])
        for name, number in numbers.items():
            frames = await visitor.frames(visitor.submit(length=20, version=number)["id"])
            assert frames[-1]["error"] == ABSENT[name].format(number)
    finally:
        stack.send("housekeeping", signal.SIGCONT)
    assert {
        row["attempt"]
        for row in stack.rows("SELECT attempt FROM generator_generation WHERE state = 'failed'")
    } == {1}
    page, entry = await make_live_and_wait(product, product.bad["deleted"]["id"])
    assert entry["evidence"] == f"version {numbers['deleted']} is not in the registry"
    assert f"was not made live: <bdi>{html.escape(entry['evidence'])}</bdi>" in page
    assert UNAVAILABLE not in await asyncio.to_thread(lambda: product.staff.get(VERSIONS).text)


async def test_f13_only_staff_notice_an_unavailable_registry(product: Product, way: str) -> None:
    stack, before = product.stack, live(product.stack)
    reader, opened = product.staff.twin(), list[float]()

    def said() -> bool:
        began = time.monotonic()
        page = reader.get(VERSIONS).text
        opened.append(time.monotonic() - began)
        return UNAVAILABLE in page

    await asyncio.to_thread(wait_until, lambda: not said(), "the registry is there")
    async with Load(stack, References(stack), seeds=SEEDS[:2]) as load:
        await load.under_way()
        (product.registry.kill if way == "killed" else product.registry.silence)()
        gone = time.monotonic()
        await load.submit(SEEDS[0])
        assert PROMPT in load.visitor.get("/history/").text
        switch = asyncio.create_task(make_live_and_wait(product, other_than(stack, before)["id"]))
        await asyncio.to_thread(wait_until, said, "the admin says that the registry is unavailable")
        noticed = time.monotonic() - gone
        _, entry = await switch
        assert (entry["outcome"], live(stack)) == ("refused", before)
        await load.finish()
        notes = {"noticed after s": round(noticed, 1), "page s": round(max(opened), 2)}
        load.result(f"F13 {way}", **notes).save()
    assert max(opened) < 3
    assert noticed < 2 * 3  # the documented limit holds for an idle machine
    product.registry.kill()
    product.registry.start()
