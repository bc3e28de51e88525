"""What every page and socket passes: content policy, origin check, production settings."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from charrnn_site.middleware import BasePath, SameOriginSockets


@pytest.mark.parametrize(
    "path", ["/", "/history/", "/accounts/login/", "/nothing/here/", "/healthz"]
)
def test_every_answer_carries_the_policy(db: None, path: str) -> None:
    policy = Client().get(path)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://localhost:8000", "localhost:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("https://desk.example", "localhost:8000", True),  # named in CSRF_TRUSTED_ORIGINS below
        ("https://localhost:8000", "localhost:8000", False),
        ("http://localhost:9000", "localhost:8000", False),
        ("http://localhost", "localhost:8000", False),
        ("http://localhost:8000.evil.example", "localhost:8000", False),
        ("http://evil.example", "localhost:8000", False),
        ("http://evil.example", "evil.example", False),  # a rebound name: not an allowed host
        ("null", "localhost:8000", False),
        ("", "localhost:8000", False),
        ("", "", False),
        ("https://[", "localhost:8000", False),
        ("https://a.example.org", "localhost:8000", True),  # one of https://*.example.org
        ("https://a.b.example.org", "localhost:8000", True),
        ("http://a.example.org", "localhost:8000", False),
        ("https://a.example.org:8443", "localhost:8000", False),
        ("https://evil-example.org", "localhost:8000", False),
        ("https://a.example.org.evil.example", "localhost:8000", False),
        ("https://a.example.net:8443", "localhost:8000", True),  # one of https://*.example.net:8443
        ("https://a.example.net", "localhost:8000", False),
        ("http://", "", False),
    ],
)
def test_a_socket_must_come_from_this_site(
    settings: Any, origin: str, host: str, allowed: bool
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = [
        "https://desk.example",
        "https://*.example.org",
        "https://*.example.net:8443",
    ]
    assert SameOriginSockets._allowed(origin, host, "ws") is allowed


@pytest.mark.parametrize(
    ("base", "path", "shown"),
    [
        ("", "/", "/"),
        ("", "/history/", "/history/"),
        ("/charrnn", "/charrnn/history/", "/charrnn/history/"),  # the proxy leaves the path
        ("/charrnn", "/history/", "/charrnn/history/"),  # the proxy takes it off
        ("/charrnn", "/", "/charrnn/"),
        ("/charrnn", "/charrnn", "/charrnn/"),
        ("/charrnn", "/charrnn/", "/charrnn/"),
        ("/charrnn", "/healthz", "/charrnn/healthz"),
        ("/a/b", "/a/b/healthz", "/a/b/healthz"),
        ("/charrnn", "/charrnnx/", "/charrnn/charrnnx/"),
    ],
)
async def test_a_site_below_a_path(base: str, path: str, shown: str) -> None:
    scopes: list[dict[str, Any]] = []

    async def application(scope: dict[str, Any], *_: Any) -> None:
        scopes.append(scope)

    await BasePath(application, base)(
        {"type": "http", "path": path, "root_path": "/made-up"}, None, None
    )
    assert [(scope["path"], scope["root_path"]) for scope in scopes] == [(shown, base)]


COMPRESSED = {"accept-encoding": "gzip, br"}


@pytest.mark.parametrize("path", ["/", "/history/", "/accounts/login/"])
def test_pages_are_compressed_to_a_random_length(db: None, path: str) -> None:
    plain = Client().get(path)
    lengths = set()
    for _ in range(10):
        answer = Client(headers=COMPRESSED).get(path)
        assert answer["Content-Encoding"] == "gzip"
        assert "Accept-Encoding" in answer["Vary"]
        assert gzip.decompress(answer.content).startswith(b"<!doctype html>")
        # Up to 100 bytes of it are random.
        assert len(answer.content) < len(plain.content) * 0.6
        lengths.add(len(answer.content))
    assert len(lengths) > 1
    assert "Content-Encoding" not in plain


def test_a_page_that_may_show_its_request_is_not_compressed(db: None) -> None:
    browser = Client(headers=COMPRESSED)
    answers = [
        browser.get("/history/?q=guess"),
        browser.get("/?from=guess"),
        browser.post("/accounts/login/", {"username": "guess", "password": "guess"}),
        browser.get("/admin/login/?next=/admin/guess/"),
        browser.get("/healthz"),  # and what is short
    ]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert not [answer for answer in answers if "Content-Encoding" in answer]


def test_production_settings_pass_the_deployment_check(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "charrnn_site.settings",
        "DATA_DIR": str(tmp_path),
        "HTTPS": "true",
        "ALLOWED_HOSTS": "desk.example",
        "SECRET_KEY": "",
    }
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_web_process_loads_no_model_and_no_registry_client(tmp_path: Path) -> None:
    code = (
        "import sys, charrnn_site.asgi; "
        "foreign = {'ml', 'mlflow', 'numpy', 'onnx', 'onnxruntime', 'torch'}; "
        "loaded = {name for name in sys.modules if name.partition('.')[0] in foreign}; "
        "print(sorted(loaded))"
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "charrnn_site.settings",
        "DATA_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['ml', 'ml.sampling']"
