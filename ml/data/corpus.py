"""Make training data of books: strip the licence, clean, split, and store symbol ids.

A corpus folder holds `train.bin` and `validation.bin` (ids of one byte, or of two for a large
vocabulary), and `corpus.json` (vocabulary, characters left out of it, how the text was cleaned,
books, digest).
"""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ml import strict_json
from ml.errors import UserError
from ml.files import write_whole
from ml.vocabulary import Ids, Vocabulary, normalize

VALIDATION_SHARE = 0.05  # the last part of every book, never trained on
WRAPPED_LINE = 45  # a line of this length was broken at the editor's column, not by the author

_START = re.compile(
    r"^\*\*\* ?START OF (?:THIS|THE) PROJECT GUTENBERG EBOOK.*$", re.IGNORECASE | re.MULTILINE
)
_END = re.compile(
    r"^(?:\*\*\* ?END OF (?:THIS|THE) PROJECT GUTENBERG|End of (?:the )?Project Gutenberg)",
    re.IGNORECASE | re.MULTILINE,
)
_CREDIT = re.compile(
    r"^\s*(?:Produced by|E-text prepared by|Transcribed from)\b[^\n]*(?:\n[^\n]+)*", re.IGNORECASE
)


class CorpusError(UserError):
    """The texts cannot become training data; the message says which and why."""


def strip_licence(text: str) -> str:
    """Return the book without Project Gutenberg's header, licence and production credit."""
    if start := _START.search(text):
        text = text[start.end() :]
    if end := _END.search(text):
        text = text[: end.start()]
    return _CREDIT.sub("", text.strip(), count=1).strip()


def join_wrapped_lines(text: str) -> str:
    """Return `text` with the hard-wrapped lines of a paragraph joined by spaces.

    Short lines and verse stay as they are. So do lines of Chinese and Japanese, which have no
    spaces between words: there, a long line is a paragraph.
    """
    lines = text.split("\n")
    joined = [lines[0]]
    for previous, line in pairwise(lines):
        end = previous.strip()
        if len(end) >= WRAPPED_LINE and line[:1].strip() and not _without_spaces(end[-1] + line[0]):
            joined[-1] += " " + line
        else:
            joined.append(line)
    return "\n".join(joined)


def _without_spaces(characters: str) -> bool:
    """Return whether one of the characters is of a script without spaces between words.

    These characters are wide. Korean ones are wide, too, but Korean has spaces.
    """
    wide = (
        character for character in characters if unicodedata.east_asian_width(character) in "WF"
    )
    return any(not unicodedata.name(character, "").startswith("HANGUL") for character in wide)


def clean(text: str, *, join_lines: bool = True) -> str:
    """Return a book as the model reads it.

    Without its licence, normalised, without trailing spaces, at most one blank line in a row.
    """
    text = normalize(strip_licence(text.replace("\r\n", "\n")))
    text = re.sub(r" +\n", "\n", text)
    if join_lines:
        text = join_wrapped_lines(text)
    text = re.sub(r"[ ]{2,}", " ", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n\n"


@dataclass(frozen=True, slots=True)
class Book:
    """A book, and how many of its characters are in each split."""

    id: str
    title: str
    author: str
    train_chars: int
    validation_chars: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """Training data on disk. The ids are memory-mapped, so that opening it reads almost nothing."""

    vocabulary: Vocabulary
    train: Ids
    validation: Ids
    books: tuple[Book, ...]
    digest: str
    join_lines: bool = True  # hard-wrapped lines were joined
    left_out: str = ""  # the characters that have no symbol, the most frequent first

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """Return the corpus in `folder`. Raises CorpusError if there is none or half of one."""
        try:
            meta = strict_json.parse((folder / "corpus.json").read_bytes())
            books = tuple(Book(**book) for book in meta["books"])
            vocabulary, digest = Vocabulary(meta["vocabulary"]), str(meta["digest"])
            join_lines, left_out = bool(meta.get("join_lines", True)), str(meta.get("left_out", ""))
        except (FileNotFoundError, NotADirectoryError):
            raise CorpusError(
                f"{folder} holds no corpus; make one with `python -m ml corpus build`"
            ) from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CorpusError(
                f"{folder / 'corpus.json'} is damaged ({error}); build the corpus again"
            ) from None
        return cls(
            vocabulary=vocabulary,
            train=_map(folder / "train.bin", sum(book.train_chars for book in books), vocabulary),
            validation=_map(
                folder / "validation.bin", sum(book.validation_chars for book in books), vocabulary
            ),
            books=books,
            digest=digest,
            join_lines=join_lines,
            left_out=left_out,
        )

    @property
    def lost_share(self) -> float:
        """Return the share of characters that became the unknown symbol. Reads every id."""
        lost = sum(
            np.count_nonzero(part == self.vocabulary.unknown_id)
            for part in (self.train, self.validation)
        )
        return lost / (len(self.train) + len(self.validation))

    def validation_books(self) -> Iterator[tuple[Book, Ids]]:
        """Yield each book with its part of the validation split."""
        at = 0
        for book in self.books:
            yield book, self.validation[at : at + book.validation_chars]
            at += book.validation_chars


def _map(path: Path, chars: int, vocabulary: Vocabulary) -> Ids:
    size = path.stat().st_size if path.exists() else 0
    expected = chars * vocabulary.dtype.itemsize
    if size != expected or not chars:
        raise CorpusError(
            f"{path} has {size:,} bytes where corpus.json says {expected:,}; build the corpus again"
        )
    return np.memmap(path, dtype=vocabulary.dtype, mode="r")


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file.

    Raises CorpusError if it is empty or not text, OSError if it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CorpusError(f"{path} is not UTF-8 text") from None
    if "\0" in text:
        raise CorpusError(f"{path} is not text: it holds NUL characters")
    if not text.strip():
        raise CorpusError(f"{path} is empty")
    return text


def read_book(path: Path, *, join_lines: bool = True) -> str:
    """Return the text of a file as a model reads it.

    Raises what `read_text` does, and CorpusError if nothing but a licence is in the file.
    """
    text = clean(read_text(path), join_lines=join_lines)
    if not text.strip():
        raise CorpusError(f"{path} holds nothing but a licence")
    return text


def read_catalog(path: Path) -> list[dict[str, str]]:
    """Return the rows (id, title, author, …) of a catalogue of books."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except UnicodeDecodeError:
        raise CorpusError(f"{path} is not UTF-8 text") from None
    if not rows or not {"id", "title", "author"} <= rows[0].keys():
        raise CorpusError(f"{path} is not a list of books with the columns id, title and author")
    if unsafe := next(
        (row["id"] for row in rows if not re.fullmatch(r"[\w.-]+", row["id"] or "")), None
    ):
        raise CorpusError(
            f"{path} has the id {unsafe!r}; an id is letters, digits, dots and hyphens"
        )
    return rows


def _list_books(source: Path) -> list[tuple[dict[str, str], Path]]:
    """Return the catalogue rows and paths of the books in `source`.

    `source` is a folder with catalog.csv, a folder of .txt files (sorted by name), or a text file.
    """
    catalog = source / "catalog.csv"
    if catalog.is_file():
        return [(row, source / f"{row['id']}.txt") for row in read_catalog(catalog)]
    paths = [source] if source.is_file() else sorted(source.glob("*.txt"))
    if not paths:
        raise CorpusError(f"{source} is neither a text file nor a folder with .txt files")
    return [({"id": path.stem, "title": path.stem, "author": ""}, path) for path in paths]


def read_books(source: Path, *, join_lines: bool = True) -> Iterator[tuple[dict[str, str], str]]:
    """Yield each book's catalogue row and cleaned text, in catalogue order."""
    for row, path in _list_books(source):
        try:
            yield row, read_book(path, join_lines=join_lines)
        except FileNotFoundError:
            raise CorpusError(
                f"{source} has no {path.name} ({row['title']}), which its catalogue names"
            ) from None


def build(source: Path, folder: Path, *, join_lines: bool = True) -> Corpus:
    """Write the corpus of the books in `source` to `folder` and return it.

    The same books give the same bytes. Raises CorpusError.
    """
    texts = list(read_books(source, join_lines=join_lines))
    counts: Counter[str] = Counter()
    for _, text in texts:
        counts.update(text)
    vocabulary = Vocabulary.from_counts(counts)
    digest = hashlib.sha256(vocabulary.symbols.encode())
    books: list[Book] = []
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for row, text in texts:
        ids = vocabulary.encode(text)
        split = len(ids) - int(len(ids) * VALIDATION_SHARE)
        digest.update(ids.tobytes())
        parts[0].append(ids[:split].tobytes())
        parts[1].append(ids[split:].tobytes())
        books.append(Book(row["id"], row["title"], row["author"], split, len(ids) - split))
    if not any(book.validation_chars for book in books):
        raise CorpusError(
            f"{source} is too short: a split needs a text of "
            f"{round(1 / VALIDATION_SHARE)} characters or more"
        )
    meta = {
        "vocabulary": vocabulary.symbols,
        "digest": digest.hexdigest(),
        "join_lines": join_lines,
        "left_out": "".join(
            symbol for symbol, _ in counts.most_common() if symbol not in vocabulary.symbols
        ),
        "books": [{name: getattr(book, name) for name in Book.__slots__} for book in books],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(("train.bin", "validation.bin"), parts, strict=True):
        write_whole(folder / name, b"".join(part))
    write_whole(folder / "corpus.json", (strict_json.serialize(meta, indent=1) + "\n").encode())
    return Corpus.open(folder)
