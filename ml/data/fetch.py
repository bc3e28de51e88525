"""Books from Project Gutenberg or a mirror: politely, resumable, and checked before they are kept.

One book at a time with a pause between them; a transfer that is cut goes on where it was, in this
call or the next one.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
from tqdm import tqdm

from ml.data.corpus import CorpusError
from ml.files import write_whole

GUTENBERG = "https://www.gutenberg.org/cache/epub/{id}/pg{id}.txt"
ATTEMPTS = 5
_AGENT = {
    "User-Agent": "charrnn-live (python -m ml corpus fetch)",
    "Accept-Encoding": "identity",
}  # a range counts plain bytes
PIECE = 8192  # bytes written at once: of a transfer that is cut, the last piece is lost
_TIMEOUT = 30  # seconds without a byte
_MAX_WAIT = 60.0  # seconds, whatever a server asks for
_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}

Row = Mapping[str, str]


class FetchError(CorpusError):
    """Books could not be fetched; the message says which and why. Those that were are kept."""


class _Missing(Exception):
    """This book cannot be had from this mirror, the next one may."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How politely a mirror is asked, in seconds."""

    pause: float = 2.0  # between two books
    backoff: float = 1.0  # after the first failure, doubled after each further one


def fetch(
    catalog: Sequence[Row], folder: Path, *, mirror: str = GUTENBERG, manners: Manners | None = None
) -> int:
    """Fetch what `folder` lacks of the books in `catalog`, write catalog.csv beside them and return how many were fetched.

    `mirror` is a folder or an address that holds <id>.txt, or an address with {id} in it. Raises
    FetchError.
    """
    manners = manners or Manners()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [row for row in catalog if not _path(folder, row).exists()]
    failures: list[str] = []
    with requests.Session() as session, tqdm(wanted, unit="book", disable=None) as bar:
        session.headers.update(_AGENT)
        for number, row in enumerate(bar):
            bar.set_postfix_str(row["title"][:30])
            try:
                raw = _read(session, mirror, row, folder, manners, pause=bool(number))
                write_whole(_path(folder, row), _checked(raw).encode())
            except _Missing as error:
                failures.append(f"{row['id']} ({row['title']}) {error}")
            _forget(_partial(folder, row))
    if failures:
        more = f", and {len(failures) - 3} more" if len(failures) > 3 else ""
        raise FetchError(
            f"{len(failures)} of {len(catalog)} books could not be fetched: {'; '.join(failures[:3])}{more}"
        )
    write_whole(folder / "catalog.csv", _csv(catalog))
    return len(wanted)


def _read(
    session: requests.Session, mirror: str, row: Row, folder: Path, manners: Manners, *, pause: bool
) -> bytes:
    if "://" not in mirror:
        if not Path(mirror).is_dir():
            raise FetchError(
                f"there is no folder {mirror}; a mirror is a folder or an http address"
            )
        try:
            return (Path(mirror) / f"{row['id']}.txt").read_bytes()
        except FileNotFoundError:
            raise _Missing("is not in the mirror") from None
    address = (
        mirror.replace("{id}", row["id"])
        if "{id}" in mirror
        else f"{mirror.rstrip('/')}/{row['id']}.txt"
    )
    if pause:
        time.sleep(manners.pause)
    return _download(session, address, _partial(folder, row), manners)


def _download(session: requests.Session, address: str, partial: Path, manners: Manners) -> bytes:
    """Return the whole file, after as many attempts as it takes and is polite."""
    wait = 0.0
    for attempt in range(ATTEMPTS):
        time.sleep(min(wait, _MAX_WAIT))
        wait = manners.backoff * 2**attempt
        try:
            with session.get(
                address, headers=_range(partial), stream=True, timeout=_TIMEOUT
            ) as response:
                if response.status_code == requests.codes.requested_range_not_satisfiable:
                    _forget(partial)  # it is not the file that we have a part of
                    reason = "the mirror's file changed"
                    continue
                if response.status_code in _WORTH_ANOTHER_TRY:
                    reason = f"the mirror answers {response.status_code}"
                    wait = max(wait, _retry_after(response))
                    continue
                if not response.ok:
                    raise _Missing(
                        f"is not at {address}: the mirror answers {response.status_code}"
                    )
                _append(response, partial)
            return partial.read_bytes()
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            reason = _cause(error)
        except requests.RequestException as error:  # no address at all, endless redirects
            raise FetchError(f"{address} cannot be asked: {error}") from None
    raise FetchError(
        f"{address} could not be fetched in {ATTEMPTS} attempts: {reason}. What was fetched is kept: run the command again "
        "when the network is back, or name a folder or another address with --mirror"
    )


def _range(partial: Path) -> dict[str, str]:
    """Return the headers that ask for the rest of a partial file, if the file is still the same one at the mirror."""
    have = partial.stat().st_size if partial.exists() else 0
    tag = _tag_path(partial)
    return {"Range": f"bytes={have}-", "If-Range": tag.read_text()} if have and tag.exists() else {}


def _append(response: requests.Response, partial: Path) -> None:
    """Write the body to `partial`, after what is there if the server agreed to send the rest only."""
    resumed = response.status_code == requests.codes.partial_content
    if not resumed:
        _forget(partial)
        if tag := response.headers.get("ETag") or response.headers.get("Last-Modified"):
            _tag_path(partial).write_text(tag)
    with partial.open("ab") as file:
        file.writelines(response.iter_content(PIECE))


def _retry_after(response: requests.Response) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else 0.0


def _cause(error: Exception) -> str:
    """Return the innermost reason of an error of requests, without addresses of objects."""
    text = str(error)
    for sign, reason in (
        ("NameResolution", "its name cannot be resolved (is there a network?)"),
        ("timed out", "it does not answer"),
        ("refused", "it refuses the connection"),
        ("IncompleteRead", "the transfer is cut off again and again"),
    ):
        if sign in text:
            return reason
    return text[:200]


def _checked(raw: bytes) -> str:
    """Return the text of a whole file: UTF-8, or Latin-1 made into it. Raises _Missing for what is no plain text."""
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


def _partial(folder: Path, row: Row) -> Path:
    return folder / f"{row['id']}.txt.part"


def _forget(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _tag_path(partial).unlink(missing_ok=True)


def _tag_path(partial: Path) -> Path:
    return partial.with_name(partial.name + ".tag")
