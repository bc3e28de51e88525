"""Books to training data: strip the licence, clean, split, and store as memory-mapped symbol ids.

A corpus folder holds `train.bin` and `validation.bin` (uint8 ids) and `corpus.json` (vocabulary, books, digest).
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml.vocabulary import Vocabulary, normalize

VALIDATION_SHARE = 0.05  # the last part of every book, never trained on
WRAPPED_LINE = 45  # a line at least this long was broken by the editor's column width, not by the author

_START = re.compile(r"^\*\*\* ?START OF (?:THIS|THE) PROJECT GUTENBERG EBOOK.*$", re.IGNORECASE | re.MULTILINE)
_END = re.compile(
    r"^(?:\*\*\* ?END OF (?:THIS|THE) PROJECT GUTENBERG|End of (?:the )?Project Gutenberg)", re.IGNORECASE | re.MULTILINE
)
_CREDIT = re.compile(r"^\s*(?:Produced by|E-text prepared by|Transcribed from)\b[^\n]*(?:\n[^\n]+)*", re.IGNORECASE)


class CorpusError(Exception):
    """The texts cannot be made into training data; the message says which and why."""


def strip_licence(text: str) -> str:
    """Return the book without Project Gutenberg's header, licence and production credit."""
    if start := _START.search(text):
        text = text[start.end() :]
    if end := _END.search(text):
        text = text[: end.start()]
    return _CREDIT.sub("", text.strip(), count=1).strip()


def join_wrapped_lines(text: str) -> str:
    """Return `text` with hard-wrapped lines of a paragraph joined by spaces; short lines and verse stay as they are."""
    lines = text.split("\n")
    joined = [lines[0]]
    for previous, line in pairwise(lines):
        if len(previous.strip()) >= WRAPPED_LINE and line[:1].strip():
            joined[-1] += " " + line
        else:
            joined.append(line)
    return "\n".join(joined)


def clean(text: str, *, join_lines: bool = True) -> str:
    """Return a book as the model reads it: no licence, normalised, no trailing spaces, at most one blank line in a row."""
    text = normalize(strip_licence(text.replace("\r\n", "\n")))
    text = re.sub(r" +\n", "\n", text)
    if join_lines:
        text = join_wrapped_lines(text)
    text = re.sub(r"[ ]{2,}", " ", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n\n"


@dataclass(frozen=True, slots=True)
class Book:
    """A book and how many characters of it went into either split."""

    id: str
    title: str
    author: str
    train_chars: int
    validation_chars: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """Training data on disk; the ids are memory-mapped, so opening costs next to nothing."""

    vocabulary: Vocabulary
    train: npt.NDArray[np.uint8]
    validation: npt.NDArray[np.uint8]
    books: tuple[Book, ...]
    digest: str

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """Return the corpus in `folder`. Raises CorpusError with what to do when there is none."""
        try:
            meta = json.loads((folder / "corpus.json").read_text())
        except FileNotFoundError:
            raise CorpusError(f"{folder} holds no corpus; make one with `python -m ml corpus build`") from None
        return cls(
            vocabulary=Vocabulary(meta["vocabulary"]),
            train=np.memmap(folder / "train.bin", dtype=np.uint8, mode="r"),
            validation=np.memmap(folder / "validation.bin", dtype=np.uint8, mode="r"),
            books=tuple(Book(**book) for book in meta["books"]),
            digest=meta["digest"],
        )


def read_catalog(path: Path) -> list[dict[str, str]]:
    """Return the rows (id, title, author, …) of a catalogue of books."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_books(source: Path, *, join_lines: bool = True) -> Iterator[tuple[dict[str, str], str]]:
    """Yield each catalogue row with its cleaned text, in catalogue order. `source` holds catalog.csv and <id>.txt."""
    for row in read_catalog(source / "catalog.csv"):
        try:
            text = (source / f"{row['id']}.txt").read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise CorpusError(f"{row['id']}.txt ({row['title']}) is not UTF-8 text") from None
        except FileNotFoundError:
            raise CorpusError(f"{source} has no {row['id']}.txt ({row['title']}), which its catalogue names") from None
        yield row, clean(text, join_lines=join_lines)


def build(source: Path, folder: Path, *, join_lines: bool = True) -> Corpus:
    """Write the corpus of the books in `source` to `folder` and return it. The same books give the same bytes."""
    texts = list(read_books(source, join_lines=join_lines))
    counts: Counter[str] = Counter()
    for _, text in texts:
        counts.update(text)
    vocabulary = Vocabulary.from_counts(counts)
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(vocabulary.symbols.encode())
    books: list[Book] = []
    with (folder / "train.bin").open("wb") as train, (folder / "validation.bin").open("wb") as validation:
        for row, text in texts:
            ids = vocabulary.encode(text)
            split = len(ids) - int(len(ids) * VALIDATION_SHARE)
            digest.update(ids.tobytes())
            train.write(ids[:split].tobytes())
            validation.write(ids[split:].tobytes())
            books.append(Book(row["id"], row["title"], row["author"], split, len(ids) - split))
    meta = {
        "vocabulary": vocabulary.symbols,
        "digest": digest.hexdigest(),
        "join_lines": join_lines,
        "books": [{name: getattr(book, name) for name in Book.__slots__} for book in books],
    }
    (folder / "corpus.json").write_text(json.dumps(meta, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Corpus.open(folder)
