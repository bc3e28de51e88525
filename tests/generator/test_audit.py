"""The audit of our packages: pip-audit itself, asking a vulnerability service that this test is."""

from __future__ import annotations

import json
import os
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
VULNERABLE = {"name": "redis", "ecosystem": "PyPI"}


class Service(BaseHTTPRequestHandler):
    """Knows one vulnerability, of redis."""

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        repaired = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999.0"}]}]
        affected = [{"package": VULNERABLE, "ranges": repaired}]
        known = [
            {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "summary": "x", "affected": affected}
        ]
        answer = json.dumps({"vulns": known} if question["package"] == VULNERABLE else {}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with what the audit reads."""
    (tmp_path / "tools").mkdir()
    for name in (
        "tools/audit.py",
        "tools/audit-exceptions.txt",
        *(path.name for path in ROOT.glob("requirements*.txt")),
    ):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    return tmp_path


def audit(home: Path, service: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    named = {
        "PIP_AUDIT_VULNERABILITY_SERVICE": "osv",
        "PIP_AUDIT_OSV_URL": service,
        "no_proxy": "127.0.0.1",
    }
    command = [sys.executable, str(home / "tools" / "audit.py"), *arguments]
    return subprocess.run(
        command,
        env={**os.environ, **named},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_vulnerability_without_an_explanation_fails(home: Path, service: str) -> None:
    done = audit(home, service)
    assert done.returncode == 1, done.stderr
    assert "PYSEC-2026-1 = CVE-2026-1, repaired in 999.0" in done.stdout
    assert "NOT EXPLAINED" in done.stdout
    assert "1 vulnerabilities not explained" in done.stdout


def test_an_explained_one_passes_and_its_reason_is_printed(home: Path, service: str) -> None:
    lines = "# a comment\nCVE-2026-1 only the client's cluster mode, which we do not use\nCVE-2025-9 was repaired a year ago\n"
    (home / "tools" / "audit-exceptions.txt").write_text(lines)
    done = audit(home, service, "--strict")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "accepted: only the client's cluster mode" in done.stdout
    assert "CVE-2025-9 was not found any more" in done.stdout


def test_an_exception_without_a_reason_fails(home: Path, service: str) -> None:
    (home / "tools" / "audit-exceptions.txt").write_text("CVE-2026-1\n")
    done = audit(home, service)
    assert done.returncode == 2
    assert "CVE-2026-1 needs a sentence" in done.stderr


@pytest.mark.parametrize(("arguments", "code"), [((), 0), (("--strict",), 3)])
def test_without_an_answer_it_says_that_nothing_was_checked(
    home: Path, arguments: tuple[str, ...], code: int
) -> None:
    done = audit(home, "http://127.0.0.1:1/v1/query", *arguments)
    assert done.returncode == code, done.stderr
    assert "could not be checked: no network" in done.stdout


def test_every_requirement_is_audited(home: Path, service: str) -> None:
    (home / "tools" / "audit-exceptions.txt").write_text(
        "CVE-2026-1 which is the one that this test makes up\n"
    )
    done = audit(home, service)
    checked = int(done.stdout.split(" packages checked")[0].splitlines()[-1])
    pinned = [line for line in (home / "constraints.txt").read_text().splitlines() if "==" in line]
    assert checked >= len(pinned)
