from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml.corpus import Corpus, CorpusError, build, clean, join_wrapped_lines, strip_licence

BOOK = """The Project Gutenberg eBook of Tests
*** START OF THE PROJECT GUTENBERG EBOOK TESTS ***

Produced by Somebody and the
Online Team

CHAPTER I

\u201cThis is a line of prose that the editor has broken at its column,\u201d
and this is the rest of it.

A short line
of verse.



The end.
*** END OF THE PROJECT GUTENBERG EBOOK TESTS ***
Licence text
"""


def write_books(folder: Path, texts: dict[str, str]) -> Path:
    folder.mkdir()
    rows = "".join(f"{name},Title {name},Author\n" for name in texts)
    (folder / "catalog.csv").write_text("id,title,author\n" + rows, encoding="utf-8")
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def test_licence_and_credit_are_cut_off() -> None:
    text = strip_licence(BOOK)
    assert text.startswith("CHAPTER I")
    assert text.endswith("The end.")


def test_a_text_without_licence_stays_whole() -> None:
    assert strip_licence("Just words.") == "Just words."


def test_cleaning_joins_prose_and_keeps_verse() -> None:
    assert clean(BOOK) == (
        "CHAPTER I\n\n"
        '"This is a line of prose that the editor has broken at its column," and this is the rest of it.\n\n'
        "A short line\nof verse.\n\n"
        "The end.\n\n"
    )


def test_an_indented_line_is_never_joined() -> None:
    text = "x" * 60 + "\n   indented"
    assert join_wrapped_lines(text) == text


def test_lines_stay_when_asked_to() -> None:
    assert 'column,"\nand' in clean(BOOK, join_lines=False)


def test_the_split_is_the_end_of_every_book(tmp_path: Path) -> None:
    source = write_books(tmp_path / "books", {"1": "a" * 1000, "2": "b" * 500})
    corpus = build(source, tmp_path / "corpus")
    assert [(book.train_chars, book.validation_chars) for book in corpus.books] == [(952, 50), (477, 25)]
    assert corpus.vocabulary.decode(corpus.train) == "a" * 952 + "b" * 477
    assert corpus.vocabulary.decode(corpus.validation) == "a" * 48 + "\n\n" + "b" * 23 + "\n\n"


def test_the_same_books_give_the_same_bytes(tmp_path: Path) -> None:
    source = write_books(tmp_path / "books", {"1": BOOK, "2": "Some other words. " * 20})
    first, second = build(source, tmp_path / "one"), build(source, tmp_path / "two")
    assert first.digest == second.digest
    for name in ("train.bin", "validation.bin", "corpus.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_another_text_has_another_digest(tmp_path: Path) -> None:
    one = build(write_books(tmp_path / "a", {"1": "abc" * 100}), tmp_path / "one")
    two = build(write_books(tmp_path / "b", {"1": "acb" * 100}), tmp_path / "two")
    assert one.digest != two.digest


def test_opening_gives_what_was_built(tmp_path: Path) -> None:
    built = build(write_books(tmp_path / "books", {"1": BOOK}), tmp_path / "corpus")
    opened = Corpus.open(tmp_path / "corpus")
    assert opened.vocabulary == built.vocabulary
    assert opened.books == built.books
    assert np.array_equal(opened.train, built.train)


def test_a_missing_corpus_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="corpus build"):
        Corpus.open(tmp_path)


def test_a_missing_book_is_named(tmp_path: Path) -> None:
    source = write_books(tmp_path / "books", {"7": "text"})
    (source / "7.txt").unlink()
    with pytest.raises(CorpusError, match=r"7\.txt \(Title 7\)"):
        build(source, tmp_path / "corpus")


def test_a_book_in_another_encoding_is_named(tmp_path: Path) -> None:
    source = write_books(tmp_path / "books", {"7": "text"})
    (source / "7.txt").write_bytes("caf\u00e9".encode("latin-1"))
    with pytest.raises(CorpusError, match="not UTF-8"):
        build(source, tmp_path / "corpus")
