"""Static files, security headers, and pages that stay available while submits wait."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

from tests.stack import Stack

WAITING = 12  # submits, fewer than there are threads for pages


def test_static_files_have_hashed_names_and_are_cached_for_ever(stack: Stack) -> None:
    visitor = stack.visitor()
    page = visitor.get("/")
    names = re.findall(r'(?:href|src)="(/static/[^"]+\.(?:css|js))"', page.text)
    assert {name.rsplit(".", 1)[1] for name in names} == {"css", "js"}
    for name in names:
        file = visitor.get(name)
        assert file.status_code == 200
        assert file.headers["Content-Type"].split(";")[0] == (
            "text/css" if name.endswith("css") else "text/javascript"
        )
        assert "immutable" in file.headers["Cache-Control"]
        assert file.headers["X-Content-Type-Options"] == "nosniff"
        assert (
            visitor.get(
                name, headers={"If-Modified-Since": file.headers["Last-Modified"]}
            ).status_code
            == 304
        )
    assert visitor.get("/static/nothing.css").status_code == 404


def test_pages_have_security_headers(stack: Stack) -> None:
    for path, status in {
        "/": 200,
        "/history/": 200,
        "/nowhere/": 404,
        "/admin/login/": 200,
    }.items():
        answer = stack.visitor().get(path)
        assert answer.status_code == status
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["X-Frame-Options"] == "DENY"


def test_submits_that_wait_for_the_database_do_not_delay_other_pages(stack: Stack) -> None:
    visitors = [stack.visitor() for _ in range(WAITING)]
    for visitor in visitors:
        visitor.get("/")
    with ThreadPoolExecutor(WAITING) as threads:
        with contextlib.closing(
            sqlite3.connect(stack.data_dir / "db.sqlite3", timeout=20, isolation_level=None)
        ) as other:
            other.execute("BEGIN IMMEDIATE")
            answers = [threads.submit(visitor.ask, prompt="A", length=1) for visitor in visitors]
            time.sleep(1)
            begin = time.monotonic()
            assert stack.visitor().get("/history/").status_code == 200
            took = time.monotonic() - begin
            assert not any(answer.done() for answer in answers)
            other.execute("ROLLBACK")
        assert [answer.result().status_code for answer in answers] == [201] * WAITING
    assert took < 1
