"""Claims of docs/security.md about the code as a whole, which no behaviour shows."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from generator.operations import own_redis

ROOT = Path(settings.BASE_DIR)
SCRIPTS = sorted((ROOT / "static" / "js").glob("*.js"))
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
CODE = [
    path
    for folder in ("charrnn_site", "generator", "ml")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser"
    r"|createContextualFragment|\beval\(|new Function"
)
INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", re.IGNORECASE)
UNSAFE = re.compile(
    r"\bpickle\b|\bmarshal\b|\bdill\b|yaml\.load\(|shell=True|os\.system|\beval\(|\bexec\("
    r"|torch\.load\(|mark_safe|\.raw\("
)


def found(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    assert paths
    return [
        f"{path.name}: {match[0]}" for path in paths for match in pattern.finditer(path.read_text())
    ]


def test_scripts_parse_no_text_as_markup_except_our_own_pages() -> None:
    assert found(MARKUP, SCRIPTS) == ["refresh.js: DOMParser"]


def test_templates_have_nothing_inline_and_escape_all_but_djangos_own_hints() -> None:
    assert found(INLINE, TEMPLATES) == []
    assert found(re.compile(r"\{\{[^}]*\|\s*safe\b[^}]*\}\}|autoescape off"), TEMPLATES) == [
        "_fields.html: {{ field.help_text|safe }}"
    ]


def test_nothing_unpickles_evaluates_or_runs_a_shell() -> None:
    # Redis' Lua, torch's mode.
    allowed = re.compile(r"session\.eval|_client\(\)\.eval|shared_client\(\)\.eval|model\.eval\(")
    lines = [line for path in CODE for line in path.read_text().splitlines()]
    code = [line for line in lines if not allowed.search(line) and "torch names" not in line]
    assert [line for line in code if UNSAFE.search(line)] == []


@pytest.mark.parametrize("text", ['element.innerHTML = "x"', "eval(x)"])
def test_the_patterns_find_something(text: str) -> None:
    assert MARKUP.search(text)


def test_messages_between_processes_are_json() -> None:
    assert (settings.CELERY_ACCEPT_CONTENT, settings.CELERY_TASK_SERIALIZER) == (["json"], "json")


def test_only_their_user_can_read_secret_files(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    environment = {
        **os.environ,
        "DATA_DIR": str(folder),
        "SECRET_KEY": "",
        "PYTHON_DOTENV_DISABLED": "1",
    }
    environment["DJANGO_SETTINGS_MODULE"] = "charrnn_site.settings"
    program = (
        "from django.conf import settings; settings.SECRET_KEY; "
        "import json; print(json.dumps(settings.CELERY_ACCEPT_CONTENT))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == ["json"]
    url = own_redis.prepare(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()
    }
    assert modes == {"secret-key": 0o600, "redis-url": 0o600, "redis.conf": 0o600}
    configuration = (folder / "redis.conf").read_text()
    assert "bind 127.0.0.1\n" in configuration
    assert re.search(r"^requirepass \S{20,}$", configuration, re.MULTILINE)
    assert url.startswith("redis://:")
