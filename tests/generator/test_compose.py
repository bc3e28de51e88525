"""docker-compose.yml follows the Compose Specification and our own rules. No engine runs it here.

The specification's JSON schema comes with the package check-jsonschema.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from django.conf import settings

from charrnn_site.env import DECLARED
from generator.operations import processes

ROOT = Path(settings.BASE_DIR)
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SCHEMA = json.loads(
    (files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json").read_text()
)
OURS = [name for name, service in SERVICES.items() if service["image"] == "charrnn-live"]
FORBIDDEN = {
    "privileged",
    "cap_add",
    "devices",
    "network_mode",
    "pid",
    "ipc",
    "userns_mode",
    "cgroup_parent",
}


def test_it_is_valid_by_the_schema() -> None:
    jsonschema.validate(COMPOSE, SCHEMA)


def test_the_schema_notices_a_mistake() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"services": {"web": {"image": "x", "read-only": True}}}, SCHEMA)


def test_every_process_and_service_is_there() -> None:
    assert set(SERVICES) == {
        "web",
        "worker",
        "housekeeping",
        "beat",
        "prestart",
        "mlflow",
        "valkey",
        "postgres",
    }


@pytest.mark.parametrize("name", ["web", "worker", "housekeeping", "beat"])
def test_processes_start_with_the_command_lines_of_supervisord(name: str) -> None:
    assert SERVICES[name]["command"] == ["python", "manage.py", "process", name]
    assert name in processes.programs()


def test_only_web_can_be_reached_from_outside() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["web"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert [name for name, service in SERVICES.items() if service["networks"] != ["inside"]] == [
        "web"
    ]


@pytest.mark.parametrize("name", SERVICES)
class TestEveryService:
    def test_runs_without_privileges(self, name: str) -> None:
        service = SERVICES[name]
        assert service["user"] not in {"root", "0", "0:0"}
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not FORBIDDEN & service.keys()

    def test_mounts_no_folder_of_the_host_but_configuration(self, name: str) -> None:
        sources = [volume.split(":")[0] for volume in SERVICES[name].get("volumes", [])]
        assert all(
            source in COMPOSE["volumes"] or source == "./deploy/redis.conf" for source in sources
        )
        assert all(
            volume.endswith(":ro")
            for volume in SERVICES[name].get("volumes", [])
            if volume.startswith(".")
        )

    def test_has_limits(self, name: str) -> None:
        assert {"mem_limit", "cpus", "pids_limit"} <= SERVICES[name].keys()

    def test_has_a_health_check(self, name: str) -> None:
        own = SERVICES[name].get("healthcheck", {})
        image_has_one = name == "web"  # HEALTHCHECK of the Dockerfile asks /healthz
        assert own.get("test") or image_has_one or (name == "prestart" and own == {"disable": True})

    def test_carries_no_password(self, name: str) -> None:
        for key, value in SERVICES[name].get("environment", {}).items():
            if "PASSWORD" in key or "AUTH" in key or "://" in str(value):
                assert "${" in value or "@" not in value, key


def test_the_application_waits_until_everything_is_prepared() -> None:
    for name in ("web", "worker", "housekeeping", "beat"):
        assert SERVICES[name]["depends_on"]["prestart"] == {
            "condition": "service_completed_successfully"
        }
    assert SERVICES["prestart"]["depends_on"]["mlflow"] == {"condition": "service_healthy"}


def test_mlflow_answers_to_its_own_names_only() -> None:
    assert (
        SERVICES["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"]
        == "mlflow:5000,localhost:5000"
    )


def test_the_settings_are_those_of_the_site() -> None:
    for name in ("web", "worker", "housekeeping", "beat", "prestart"):
        assert SERVICES[name]["environment"].keys() <= DECLARED.keys()
        assert SERVICES[name]["env_file"] == [{"path": ".env", "required": False}]


def test_the_image_does_not_run_as_root() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (.+)$", dockerfile, re.MULTILINE) == ["10001:10001"]
    assert "HEALTHCHECK" in dockerfile
    assert len(re.findall(r"^FROM ", dockerfile, re.MULTILINE)) == 2


def test_what_the_image_copies_is_not_ignored() -> None:
    kept = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert {
        "charrnn_site",
        "generator",
        "ml",
        "templates",
        "static",
        "deploy",
        "data/models",
        "manage.py",
    } <= kept
    assert not kept & {".env", "data/var", ".venv", "tests"}
