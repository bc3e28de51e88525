"""Making a corpus of books, and opening it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ml.cli import main
from ml.cli.corpus import BOOKS
from ml.data.corpus import (
    Corpus,
    CorpusError,
    build,
    clean,
    join_wrapped_lines,
    read_catalog,
    strip_licence,
)

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
        '"This is a line of prose that the editor has broken at its column," '
        "and this is the rest of it.\n\n"
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
    assert [(book.train_chars, book.validation_chars) for book in corpus.books] == [
        (952, 50),
        (477, 25),
    ]
    assert corpus.vocabulary.decode(corpus.train) == "a" * 952 + "b" * 477
    assert corpus.vocabulary.decode(corpus.validation) == "a" * 48 + "\n\n" + "b" * 23 + "\n\n"


def test_the_same_books_give_the_same_bytes(tmp_path: Path) -> None:
    source = write_books(tmp_path / "books", {"1": BOOK, "2": "Some other words. " * 20})
    first, second = build(source, tmp_path / "one"), build(source, tmp_path / "two")
    assert first.digest == second.digest
    for name in ("train.bin", "validation.bin", "corpus.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_corpus_written_before_large_vocabularies_is_opened(tmp_path: Path) -> None:
    """A text with few symbols still has the same bytes and digest."""
    built = build(write_books(tmp_path / "books", {"1": BOOK}), tmp_path / "corpus")
    assert built.digest == "7bffea3e9d8b6070a5421b406b3783929ca9032f4d1925f30188e38245cf4cc7"
    path = tmp_path / "corpus" / "corpus.json"
    meta = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(
        json.dumps({key: meta[key] for key in ("vocabulary", "digest", "join_lines", "books")}),
        encoding="utf-8",
    )
    opened = Corpus.open(tmp_path / "corpus")
    assert (opened.digest, opened.train.dtype, opened.join_lines) == (built.digest, np.uint8, True)
    assert opened.train.tobytes() == built.train.tobytes()


def test_many_symbols_take_two_bytes_each(tmp_path: Path) -> None:
    text = "".join(chr(0x4E00 + number * number % 997) for number in range(20_000))
    corpus = build(write_books(tmp_path / "books", {"1": text}), tmp_path / "corpus")
    assert len(corpus.vocabulary) > 256
    assert (tmp_path / "corpus" / "train.bin").stat().st_size == 2 * len(corpus.train)
    assert corpus.vocabulary.decode([*corpus.train, *corpus.validation]) == text + "\n\n"
    opened = Corpus.open(tmp_path / "corpus")
    assert (opened.digest, opened.train.tolist()) == (corpus.digest, corpus.train.tolist())
    path = tmp_path / "corpus" / "train.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorpusError, match="build the corpus again"):
        Corpus.open(tmp_path / "corpus")


@pytest.mark.parametrize(
    ("end", "start", "joined"),
    [("間", "文", False), ("。", "and", False), ("가", "나", True), ("é", "ж", True)],
)
def test_lines_are_joined_in_scripts_with_spaces_between_words(
    end: str, start: str, joined: bool
) -> None:
    assert (
        join_wrapped_lines("x" * 60 + end + "\n" + start)
        == "x" * 60 + end + (" " if joined else "\n") + start
    )


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


def test_any_folder_of_texts_will_do(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for name in ("two", "one"):
        (tmp_path / "texts" / f"{name}.txt").write_text(f"The text {name}. " * 10)
    corpus = build(tmp_path / "texts", tmp_path / "corpus")
    assert [(book.id, book.title) for book in corpus.books] == [("one", "one"), ("two", "two")]
    assert len(build(tmp_path / "texts" / "one.txt", tmp_path / "single").books) == 1


def test_the_parts_of_the_books_are_found_again(tmp_path: Path) -> None:
    corpus = build(
        write_books(tmp_path / "books", {"1": "a" * 1000, "2": "b" * 500}), tmp_path / "corpus"
    )
    parts = {book.id: corpus.vocabulary.decode(ids) for book, ids in corpus.validation_books()}
    assert parts == {"1": "a" * 48 + "\n\n", "2": "b" * 23 + "\n\n"}


def test_opening_reads_nothing_but_the_description(tmp_path: Path) -> None:
    corpus = build(write_books(tmp_path / "books", {"1": BOOK}), tmp_path / "corpus")
    assert isinstance(corpus.train, np.memmap)
    assert isinstance(corpus.validation, np.memmap)
    assert not corpus.train.flags.writeable


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", r"7\.txt is empty"),
        (b" \r\n\n", r"7\.txt is empty"),
        (b"abc\0def", "NUL characters"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8"),
        (
            b"*** START OF THE PROJECT GUTENBERG EBOOK X ***\n"
            b"*** END OF THE PROJECT GUTENBERG EBOOK X ***",
            "nothing but a licence",
        ),
        (b"short", "too short: a split needs a text of 20 characters"),
    ],
)
def test_what_is_no_text_to_train_on_is_refused(tmp_path: Path, raw: bytes, reason: str) -> None:
    source = write_books(tmp_path / "books", {"7": "text"})
    (source / "7.txt").write_bytes(raw)
    with pytest.raises(CorpusError, match=reason):
        build(source, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize(
    ("catalog", "reason"),
    [
        ("", "not a list of books"),
        ("id,name\n1,A\n", "not a list of books"),
        ("id,title,author\n../1,A,B\n", r"has the id '\.\./1'"),
    ],
)
def test_a_catalogue_is_checked(tmp_path: Path, catalog: str, reason: str) -> None:
    source = write_books(tmp_path / "books", {"7": "text"})
    (source / "catalog.csv").write_text(catalog)
    with pytest.raises(CorpusError, match=reason):
        build(source, tmp_path / "corpus")


def test_a_folder_without_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="neither a text file nor a folder"):
        build(tmp_path, tmp_path / "corpus")


def test_half_a_corpus_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    build(write_books(tmp_path / "books", {"1": BOOK}), folder)
    whole = (folder / "train.bin").read_bytes()
    (folder / "train.bin").write_bytes(whole[:-1])
    with pytest.raises(CorpusError, match=r"train\.bin has .* build the corpus again"):
        Corpus.open(folder)
    (folder / "train.bin").unlink()
    with pytest.raises(CorpusError, match=r"train\.bin has 0 bytes"):
        Corpus.open(folder)
    (folder / "corpus.json").write_text("{}")
    with pytest.raises(CorpusError, match="damaged"):
        Corpus.open(folder)


def test_a_full_disk_leaves_the_old_corpus_whole(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    before = build(write_books(tmp_path / "books", {"1": BOOK}), folder)
    (folder / "train.bin.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: .*train\.bin'"):
        build(write_books(tmp_path / "others", {"1": BOOK + "more"}), folder)
    assert Corpus.open(folder).digest == before.digest


def test_the_list_of_books_is_complete() -> None:
    rows = read_catalog(BOOKS)
    assert len({row["id"] for row in rows}) == 99
    assert all(row["id"].isdecimal() and row["title"] and row["author"] for row in rows)


def test_building_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_books(tmp_path / "books", {"1": BOOK})
    main(["corpus", "build", "--source", str(source), "--out", str(tmp_path / "corpus")])
    said = capsys.readouterr().out
    assert Corpus.open(tmp_path / "corpus").digest[:12] in said
    assert "0 % of the text is lost\n" in said
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"^error: .*file/corpus: Not a directory"):
        main(
            ["corpus", "build", "--source", str(source), "--out", str(tmp_path / "file" / "corpus")]
        )


def test_what_is_lost_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rare = "".join(chr(0x4E00 + number) for number in range(5_000))
    often = "".join(chr(0x7E00 + number) for number in range(2_000)) * 3
    source = write_books(tmp_path / "books", {"1": rare + often})
    main(["corpus", "build", "--source", str(source), "--out", str(tmp_path / "corpus")])
    corpus = Corpus.open(tmp_path / "corpus")
    kept = set(corpus.vocabulary.symbols[1:])
    assert (len(kept), set(often) <= kept, "\n" in kept) == (4_095, True, True)
    assert len(corpus.left_out) == 5_000 - (4_095 - 2_000 - 1)
    said = capsys.readouterr().out
    assert "4096 symbols" in said
    assert (
        f"{100 * len(corpus.left_out) / 11_002:.3g} % of the text is lost: '{corpus.left_out[0]}', "
        in said
    )
    assert (
        f"and {len(corpus.left_out) - 10:,} more are too rare and become the unknown symbol" in said
    )
