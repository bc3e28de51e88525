"""`tools/audit.py` runs pip-audit against a vulnerability service that this test serves."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
LISTS = ("constraints.txt", *(path.name for path in ROOT.glob("requirements*.txt")))
VULNERABLE = {"name": "redis", "ecosystem": "PyPI"}
PINNED = re.compile(r"^([\w.-]+)[^=\s]*==", re.MULTILINE)


class Service(ThreadingHTTPServer):
    """Knows one vulnerability, of redis. `asked` holds the names of the packages asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: set[str] = set()
        self.status = 200
        self.address = f"http://127.0.0.1:{self.server_port}/v1/query"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.add(question["package"]["name"])
        repaired = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999.0"}]}]
        affected = [{"package": VULNERABLE, "ranges": repaired}]
        known = [
            {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "summary": "x", "affected": affected}
        ]
        answer = json.dumps({"vulns": known} if question["package"] == VULNERABLE else {}).encode()
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with what the audit reads, and few packages."""
    (tmp_path / "tools").mkdir()
    for name in ("tools/audit.py", "tools/audit-exceptions.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in LISTS:
        (tmp_path / name).write_text("redis==7.4.1\n")
    return tmp_path


def audit(home: Path, address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    named = {
        "PIP_AUDIT_VULNERABILITY_SERVICE": "osv",
        "PIP_AUDIT_OSV_URL": address,
        "no_proxy": "127.0.0.1",
    }
    return subprocess.run(
        [sys.executable, str(home / "tools" / "audit.py"), *arguments],
        env={**os.environ, **named},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_vulnerability_without_an_explanation_fails(home: Path, service: Service) -> None:
    done = audit(home, service.address)
    assert done.returncode == 1, done.stderr
    assert "Found 1 known vulnerability in 1 package" in done.stdout
    assert re.search(r"redis +7\.4\.1 +PYSEC-2026-1 +999\.0", done.stdout)


def test_an_explained_one_passes(home: Path, service: Service) -> None:
    (home / "tools" / "audit-exceptions.txt").write_text(
        "# a comment\n\nCVE-2026-1  # only the client's cluster mode, which we do not use\n"
    )
    done = audit(home, service.address, "--strict")
    assert (done.returncode, done.stdout) == (0, "No known vulnerabilities found, 1 ignored\n")


def test_an_exception_without_a_reason_fails(home: Path, service: Service) -> None:
    (home / "tools" / "audit-exceptions.txt").write_text("CVE-2026-1\n")
    done = audit(home, service.address)
    assert done.returncode == 1
    assert "write after CVE-2026-1 why it does not concern us" in done.stderr


@pytest.mark.parametrize(("arguments", "code"), [((), 0), (("--strict",), 3)])
def test_without_a_service_it_says_that_nothing_was_checked(
    home: Path, arguments: tuple[str, ...], code: int
) -> None:
    done = audit(home, "http://127.0.0.1:1/v1/query", *arguments)
    assert (done.returncode, len(done.stdout.splitlines())) == (code, 1), done.stderr
    assert done.stdout.startswith("The packages were not checked for known vulnerabilities")
    assert "Connection refused" in done.stdout


def test_a_service_that_fails_has_checked_nothing(home: Path, service: Service) -> None:
    service.status = 500
    done = audit(home, service.address, "--strict")
    assert done.returncode == 3
    assert done.stdout.startswith("The packages were not checked")


def test_a_package_that_cannot_be_looked_up_counts_as_not_checked(
    home: Path, service: Service
) -> None:
    (home / "requirements.txt").write_text("https://example.org/unknown-1.zip\n")
    done = audit(home, service.address, "--strict")
    assert done.returncode == 3
    assert "could not deduce package version" in done.stdout


def test_every_pinned_package_is_audited(home: Path, service: Service) -> None:
    pinned = set()
    for name in LISTS:
        shutil.copy(ROOT / name, home / name)
        found = PINNED.findall((ROOT / name).read_text())
        pinned |= {re.sub(r"[-_.]+", "-", package).lower() for package in found}
    assert audit(home, service.address).returncode == 1
    assert service.asked == pinned
