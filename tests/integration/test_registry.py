"""The admin says whether the model registry can be reached; nothing else depends on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.test_promotion import ADMIN
from tests.integration.test_stream import export
from tests.mlflow_server import MlflowServer
from tests.stack import EVERYTHING, Stack, wait_until

VERSIONS = "/admin/generator/modelversion/"
UNAVAILABLE = "The model registry is unavailable"


def test_the_admin_says_when_the_registry_is_unavailable_and_when_it_is_back(
    make_stack: Callable[..., Stack], data_dir: Path
) -> None:
    with MlflowServer(data_dir) as registry:
        stack = make_stack(*EVERYTHING, MLFLOW_TRACKING_URI=registry.url)
        stack.manage("shell", "-c", ADMIN)
        admin, visitor = stack.visitor(), stack.visitor()
        admin.post(
            "/admin/login/?next=/admin/", {"username": "root", "password": "a-long-enough-one"}
        )

        def page() -> str:
            began = time.monotonic()
            text = admin.get(VERSIONS).text
            assert time.monotonic() - began < 3
            assert "Select model version" in text or "model versions" in text
            return text

        wait_until(lambda: UNAVAILABLE in page(), "the admin says that the registry is away")
        assert "Start it, or correct MLFLOW_TRACKING_URI." in page()
        generation_id = visitor.submit(length=50)["id"]
        wait_until(
            lambda: export(visitor, generation_id)["state"] == "done",
            "texts are written without the registry",
            20,
        )
        registry.start()
        wait_until(
            lambda: UNAVAILABLE not in page(), "the admin says no more that the registry is away"
        )
