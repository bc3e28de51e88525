"""Fetching books from a server on this machine."""

from __future__ import annotations

import errno
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml.cli import main
from ml.data.corpus import read_catalog
from ml.data.fetch import ATTEMPTS, FetchError, fetch

BOOK = "Some words of a book, and more of them. " * 3_000
ONE = [{"id": "1", "title": "The Book", "author": "Somebody"}]
TWO = [*ONE, {"id": "2", "title": "Another", "author": "Somebody"}]


class Mirror(http.server.ThreadingHTTPServer):
    """Serves `books` by path. `faults` are taken one a request; `requests` lists the paths."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.books: dict[str, bytes] = {}
        self.faults: list[Callable[[Handler], None]] = []
        self.requests: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if self.server.faults:
            self.server.faults.pop(0)(self)
        else:
            self.send_book()

    def send_book(self, share: float = 1.0) -> None:
        """Send the book, or the first part of what was promised."""
        book = self.server.books.get(self.path)
        if book is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(book)))
        self.end_headers()
        self.wfile.write(book[: int(len(book) * share)])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def status(code: int, **headers: str) -> Callable[[Handler], None]:
    def send(handler: Handler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return send


def cut(handler: Handler) -> None:
    handler.send_book(0.5)


def hang_up(handler: Handler) -> None:
    handler.close_connection = True


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.books = {"/1.txt": BOOK.encode(), "/2.txt": b"Another text."}
        yield server
        server.shutdown()
        thread.join()


def get(mirror: Mirror, folder: Path, catalog: list[dict[str, str]] = ONE) -> int:
    return fetch(catalog, folder, mirror=mirror.address, pause=0, backoff=0)


def test_books_and_catalogue_are_fetched_once(mirror: Mirror, tmp_path: Path) -> None:
    assert get(mirror, tmp_path, TWO) == 2
    assert (tmp_path / "1.txt").read_text() == BOOK
    assert read_catalog(tmp_path / "catalog.csv") == TWO
    assert {path.name for path in tmp_path.iterdir()} == {"1.txt", "2.txt", "catalog.csv"}
    assert get(mirror, tmp_path, TWO) == 0
    assert len(mirror.requests) == 2


def test_a_transfer_that_is_cut_begins_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.faults = [cut, cut]
    get(mirror, tmp_path)
    assert (tmp_path / "1.txt").read_text() == BOOK
    assert mirror.requests == ["/1.txt"] * 3


def test_a_book_that_cannot_be_fetched_whole_is_left_to_the_next_call(
    mirror: Mirror, tmp_path: Path
) -> None:
    mirror.faults = [Handler.send_book, *[cut] * ATTEMPTS]
    with pytest.raises(
        FetchError, match=r"/2\.txt could not be fetched: .* cut off 5 times.*run the command again"
    ):
        get(mirror, tmp_path, TWO)
    assert [path.name for path in tmp_path.iterdir()] == ["1.txt"]
    assert get(mirror, tmp_path, TWO) == 1
    assert mirror.requests == ["/1.txt", *["/2.txt"] * (ATTEMPTS + 1)]


def test_what_may_pass_is_tried_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.faults = [hang_up, status(429, Retry_After="0"), status(500), status(503)]
    get(mirror, tmp_path)
    assert (tmp_path / "1.txt").read_text() == BOOK


def test_a_mirror_that_stays_busy_is_left_alone(mirror: Mirror, tmp_path: Path) -> None:
    mirror.faults = [status(503)] * ATTEMPTS
    with pytest.raises(FetchError, match=r"/1\.txt could not be fetched: too many 503"):
        get(mirror, tmp_path, TWO)
    assert mirror.requests == ["/1.txt"] * ATTEMPTS


def test_a_book_that_is_not_there_is_named_and_the_others_are_kept(
    mirror: Mirror, tmp_path: Path
) -> None:
    del mirror.books["/1.txt"]
    with pytest.raises(
        FetchError,
        match=r"^1 of 2 books could not be fetched: 1 \(The Book\) is not at .*/1\.txt: .* 404",
    ):
        get(mirror, tmp_path, TWO)
    assert (tmp_path / "2.txt").exists()
    assert not (tmp_path / "catalog.csv").exists()
    assert len(mirror.requests) == 2


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("caf\u00e9".encode(), "caf\u00e9"),
        (b"\xef\xbb\xbftext", "text"),
        ("caf\u00e9 \u00ab".encode("latin-1"), "caf\u00e9 \u00ab"),
    ],
)
def test_texts_become_utf_8(mirror: Mirror, tmp_path: Path, raw: bytes, text: str) -> None:
    mirror.books["/1.txt"] = raw
    get(mirror, tmp_path)
    assert (tmp_path / "1.txt").read_bytes() == text.encode()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "is empty"),
        (b"\r\n", "is empty"),
        ("text".encode("utf-16"), "control characters"),
        (b"\x89PNG\r\n\x1a\n\x00", "neither UTF-8 nor Latin-1"),
        ("\u201cquoted\u201d".encode("cp1252"), "neither UTF-8 nor Latin-1"),
        (b"<!DOCTYPE html><html><body>Please sign in</body></html>", "is a web page"),
    ],
)
def test_what_is_no_text_is_refused(
    mirror: Mirror, tmp_path: Path, raw: bytes, reason: str
) -> None:
    mirror.books["/1.txt"] = raw
    with pytest.raises(FetchError, match=reason):
        get(mirror, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    def failure(mirror: str) -> str:
        with pytest.raises(FetchError) as failed:
            fetch(ONE, tmp_path, mirror=mirror, pause=0, backoff=0)
        return str(failed.value)

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert failure(address) == (
            f"{address}/1.txt could not be fetched: "
            f"[Errno {errno.ECONNREFUSED}] Connection refused. "
            "The books fetched so far are kept: run the command again when the network is back, "
            "or name a folder or another address with --mirror"
        )
    assert ": Failed to resolve 'nowhere.invalid' (" in failure("http://nowhere.invalid")
    assert ": No connection adapters were found for 'gopher://old/" in failure("gopher://old")


def test_an_address_may_be_a_pattern(mirror: Mirror, tmp_path: Path) -> None:
    mirror.books["/cache/1/pg1.txt"] = b"text"
    fetch(ONE, tmp_path, mirror=mirror.address + "/cache/{id}/pg{id}.txt")
    assert (tmp_path / "1.txt").read_bytes() == b"text"


def test_a_folder_is_a_mirror(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "1.txt").write_bytes("caf\u00e9".encode("latin-1"))
    (tmp_path / "list.csv").write_text("id,title,author\n1,The Book,Somebody\n")
    command = [
        "corpus",
        "fetch",
        "--catalog",
        str(tmp_path / "list.csv"),
        "--out",
        str(tmp_path / "out"),
        "--mirror",
    ]
    main([*command, str(tmp_path / "mirror")])
    assert "holds 1 books, 1 of them fetched now" in capsys.readouterr().out
    assert (tmp_path / "out" / "1.txt").read_text(encoding="utf-8") == "caf\u00e9"
    (tmp_path / "out" / "1.txt").unlink()
    with pytest.raises(SystemExit, match=r"^error: there is no folder .*nowhere"):
        main([*command, str(tmp_path / "nowhere")])
    (tmp_path / "mirror" / "1.txt").unlink()
    with pytest.raises(
        SystemExit,
        match=r"^error: 1 of 1 books could not be fetched: 1 \(The Book\) is not in the mirror",
    ):
        main([*command, str(tmp_path / "mirror")])
