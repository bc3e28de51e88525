"""Download books from Project Gutenberg or a mirror.

Books are fetched one at a time with a pause between them, and each is checked before it is kept. A
book is there completely or not at all, so that a second call fetches the books that are missing.
"""

from __future__ import annotations

import contextlib
import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3 import Retry

from ml.data.corpus import CorpusError
from ml.files import write_whole

GUTENBERG = "https://www.gutenberg.org/cache/epub/{id}/pg{id}.txt"
ATTEMPTS = 5
PAUSE = 2.0  # seconds between two books
BACKOFF = 1.0  # seconds; the wait after a failure grows from it by powers of two
_AGENT = "charrnn-live (python -m ml corpus fetch)"
_TIMEOUT = 30  # seconds without a byte
_MAX_WAIT = 60  # seconds, whatever a server asks for
_WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)

Row = Mapping[str, str]


class FetchError(CorpusError):
    """Some books could not be fetched. The message says which and why; the others are kept."""


class _Missing(Exception):
    """The mirror lacks this book, or holds something else in its place."""


def fetch(
    catalog: Sequence[Row],
    folder: Path,
    *,
    mirror: str = GUTENBERG,
    pause: float = PAUSE,
    backoff: float = BACKOFF,
) -> int:
    """Fetch the books of `catalog` that `folder` lacks, and return how many they were.

    `mirror` is a folder or an address that holds <id>.txt, or an address with {id} in it. Writes
    catalog.csv beside the books once all of them are there. Raises FetchError.
    """
    if "://" not in mirror and not Path(mirror).is_dir():
        raise FetchError(f"there is no folder {mirror}; a mirror is a folder or an http address")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [row for row in catalog if not _path(folder, row).exists()]
    failures: list[str] = []
    with _session(backoff) as session, tqdm(wanted, unit="book", disable=None) as bar:
        for number, row in enumerate(bar):
            bar.set_postfix_str(row["title"][:30])
            if number and "://" in mirror:
                time.sleep(pause)
            try:
                raw = _read(session, mirror, row["id"], backoff)
                write_whole(_path(folder, row), _checked(raw).encode())
            except _Missing as error:
                failures.append(f"{row['id']} ({row['title']}) {error}")
    if failures:
        more = f", and {len(failures) - 3} more" if len(failures) > 3 else ""
        raise FetchError(
            f"{len(failures)} of {len(catalog)} books could not be fetched: "
            f"{'; '.join(failures[:3])}{more}"
        )
    write_whole(folder / "catalog.csv", _csv(catalog))
    return len(wanted)


def _session(backoff: float) -> requests.Session:
    """Return a session that repeats a request until the head of a useful answer has come."""
    session = requests.Session()
    session.headers["User-Agent"] = _AGENT
    retry = Retry(
        ATTEMPTS - 1,
        status_forcelist=_WORTH_ANOTHER_TRY,
        backoff_factor=backoff,
        backoff_max=_MAX_WAIT,
        retry_after_max=_MAX_WAIT,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def _read(session: requests.Session, mirror: str, book: str, backoff: float) -> bytes:
    """Return the file of a book. Raises _Missing, or FetchError for a mirror out of reach."""
    if "://" in mirror:
        pattern = mirror if "{id}" in mirror else f"{mirror.rstrip('/')}/{{id}}.txt"
        return _download(session, pattern.replace("{id}", book), backoff)
    try:
        return (Path(mirror) / f"{book}.txt").read_bytes()
    except FileNotFoundError:
        raise _Missing("is not in the mirror") from None


def _download(session: requests.Session, address: str, backoff: float) -> bytes:
    try:
        for _ in range(ATTEMPTS):
            with session.get(address, stream=True, timeout=_TIMEOUT) as response:
                if not response.ok:
                    raise _Missing(
                        f"is not at {address}: the mirror answers {response.status_code}"
                    )
                with contextlib.suppress(
                    requests.exceptions.ChunkedEncodingError, requests.ConnectionError
                ):
                    return response.content
            time.sleep(backoff)  # the body was cut off; a session repeats no bodies
        reason = f"the transfer was cut off {ATTEMPTS} times"
    except requests.RequestException as error:
        reason = _reason(error)
    raise FetchError(
        f"{address} could not be fetched: {reason}. The books fetched so far are kept: run the "
        "command again when the network is back, or name a folder or another address with --mirror"
    )


def _reason(error: requests.RequestException) -> str:
    """Return the cause of a failed request, without the connection pools that requests names."""
    cause = error.args[0] if error.args else error
    return str(getattr(cause, "reason", cause)).rpartition(": ")[2]


def _checked(raw: bytes) -> str:
    """Return the text of a file in UTF-8 or Latin-1. Raises _Missing for what is no plain text."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
        if any("\x7f" <= character < "\xa0" for character in text):
            raise _Missing("is neither UTF-8 nor Latin-1 text") from None
    if any(character < " " and character not in "\t\n\r\f\v\x1a" for character in text):
        raise _Missing("is not a text: it holds control characters")
    if not text.strip():
        raise _Missing("is empty")
    if text.lstrip()[:15].lower().startswith(("<!doctype html", "<html")):
        raise _Missing("is a web page, not a plain text")
    return text


def _csv(catalog: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "title", "author"))
    writer.writerows((row["id"], row["title"], row["author"]) for row in catalog)
    return text.getvalue().encode()


def _path(folder: Path, row: Row) -> Path:
    return folder / f"{row['id']}.txt"
