"""F11 to F13: the live version is switched, a bad one is refused, and the registry is away, all while texts are written."""

from __future__ import annotations

import asyncio
import html
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import requests

from generator.operations import processes
from tests.environment import isolated_environment
from tests.faults.harness import NO_LIMITS, PROMPT, SEEDS, Load, References, Result
from tests.integration.test_promotion import last_entry, live, make_live, other_than
from tests.integration.test_registry import UNAVAILABLE, VERSIONS
from tests.ml.conftest import make_version
from tests.ml.test_version import replace_weights
from tests.mlflow_server import MlflowServer
from tests.stack import EVERYTHING, Stack, wait_until
from tests.visitor import Visitor

SHORT = 300  # characters of those who go on submitting
STAFF = """
from django.contrib.auth.models import Permission, User
sam = User.objects.create_user("sam", password="a-long-enough-one", is_staff=True)
sam.user_permissions.set(Permission.objects.filter(codename__in=["view_modelversion", "promote_modelversion"]))
"""
# As anybody may who can reach the registry; our own way of registering looks at what it is given.
REGISTER = """
import hashlib, shutil, sys
from pathlib import Path
from mlflow import MlflowClient
data_dir = Path(sys.argv[1])
client = MlflowClient(f"sqlite:///{data_dir / 'mlflow.db'}", f"sqlite:///{data_dir / 'mlflow.db'}")
experiment = client.get_experiment_by_name("charrnn").experiment_id
for folder in map(Path, sys.argv[2:]):
    run = client.create_run(experiment).info
    kept = data_dir / "mlartifacts" / run.run_id / "artifacts" / "version"
    shutil.copytree(folder, kept)
    source = f"{run.artifact_uri}/version"
    digest = hashlib.sha256((folder / "model.json").read_bytes()).hexdigest()
    tags = {"digest": digest, "title": folder.name, "vocabulary_size": "35"}
    client.create_model_version("charrnn", source, run.run_id, tags=tags)
    print("source", kept)
"""
BAD = {  # and how the check that refuses it is named
    "flipped byte": "weights.safetensors does not have the sha256",
    "NaN weights": "lstm.weight_hh_l1 holds values that are not finite numbers",
    "missing file": "the version folder has no step.onnx",
    "wrong shape": "linear.bias has the shape",
}
ABSENT = {  # and what somebody is told whose text was to be written with it
    "deleted": "Version {} is not in the registry.",
    "emptied": "The files of version {} are missing or not as they should be.",
}
HOW: dict[
    str, Callable[[dict[str, Any]], object]
] = {  # weights are replaced truthfully: the hashes are right
    "NaN weights": lambda tensors: tensors["lstm.weight_hh_l1"].__setitem__((3, 4), np.nan),
    "wrong shape": lambda tensors: tensors.update({"linear.bias": tensors["linear.bias"][:-1]}),
}


@dataclass
class Product:
    """The running product, its registry, a member of the staff, and by what is wrong the rows of bad and of absent versions."""

    stack: Stack
    registry: MlflowServer
    staff: Visitor
    bad: dict[str, dict[str, Any]]
    sources: dict[str, Path]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The short form ends the registry's process; the full one also has it stand still."""
    if "way" in metafunc.fixturenames:
        full = metafunc.config.getoption("--faults") == "full"
        metafunc.parametrize("way", ["silent", "killed"] if full else ["killed"])


@pytest.fixture(scope="module")
def product(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The whole product with a real MLflow server, in which bad versions are registered that looked good at the time."""
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


def bad_version(folder: Path, name: str) -> Path:
    """Return a small version, spoilt now or, when hashes are not to be right, later."""
    make_version(folder, seed=[*BAD, *ABSENT].index(name), title=name)
    if name in HOW:
        replace_weights(folder, HOW[name])
    return folder


def register(data_dir: Path, folders: list[Path]) -> list[Path]:
    """Register versions, and return where their files lie in the registry."""
    command = [sys.executable, "-c", REGISTER, str(data_dir), *map(str, folders)]
    environment = isolated_environment(data_dir)
    done = subprocess.run(
        command,
        env=environment,
        cwd=processes.HOME,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("source ")]
    return [Path(line.removeprefix("source ")) for line in lines]


def spoil(fetched: Path, rows: dict[str, dict[str, Any]], sources: dict[str, Path]) -> None:
    """Spoil one version in the registry, from where it is fetched when it is wanted, and one after it was fetched."""
    for name in BAD:
        source = sources[name]
        if name == "missing file":
            (source / "step.onnx").unlink()
        else:
            shutil.copytree(source, fetched / rows[name]["digest"])
    weights = fetched / rows["flipped byte"]["digest"] / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)


def champion(registry: MlflowServer) -> int:
    """Return the version the registry's alias points to, as MLflow's own interface says."""
    with requests.Session() as http:
        http.trust_env = False
        path = "/api/2.0/mlflow/registered-models/alias"
        answer = http.get(
            registry.url + path, params={"name": "charrnn", "alias": "champion"}, timeout=10
        )
    return int(answer.json()["model_version"]["version"])


async def make_live_and_wait(product: Product, row_id: int) -> tuple[str, dict[str, Any]]:
    """Have the staff make a version live; return what the page said, and the ledger's entry once it is closed."""
    page = await asyncio.to_thread(make_live, product.staff, row_id)

    def closed() -> dict[str, Any] | None:
        entry = last_entry(product.stack)
        return (
            entry if entry["to_version_id"] == row_id and entry["outcome"] != "requested" else None
        )

    return page, await asyncio.to_thread(wait_until, closed, "housekeeping answers", 90)


def versions_of(load: Load) -> dict[str, int]:
    """Return by id the version that each generation of a load was written with."""
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
    sent: dict[str, float] = {}  # by id, when
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


async def test_f12_a_bad_version_is_refused_and_the_old_one_serves_on(product: Product) -> None:
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


async def test_what_a_server_does_not_have_is_not_asked_for_again(product: Product) -> None:
    stack, visitor = product.stack, product.stack.visitor()
    numbers = {name: product.bad[name]["version"] for name in ABSENT}
    stack.freeze("housekeeping")  # it would take them from the desk too soon
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


async def test_f13_an_absent_registry_is_noticed_by_the_staff_alone(
    product: Product, way: str
) -> None:
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
        await asyncio.to_thread(wait_until, said, "the admin says that the registry is away")
        noticed = time.monotonic() - gone
        _, entry = await switch
        assert (entry["outcome"], live(stack)) == ("refused", before)
        await load.finish()
        notes = {"noticed after s": round(noticed, 1), "page s": round(max(opened), 2)}
        load.result(f"F13 {way}", **notes).save()
    assert max(opened) < 3
    assert noticed < 2 * 3  # the table's figure is for a quiet machine
    product.registry.kill()
    product.registry.start()
