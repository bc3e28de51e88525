"""`python -m ml corpus`: fetch books, and make training data of texts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml.data.corpus import Corpus

SHOWN_LEFT_OUT = 10  # characters
BOOKS = Path(__file__).parents[2] / "data" / "gutenberg.csv"


def add_corpus(commands: Any) -> None:
    """Add `corpus fetch` and `corpus build`."""
    corpus = commands.add_parser("corpus", help="fetch books, and make training data of texts")
    parts = corpus.add_subparsers(required=True, metavar="COMMAND")

    fetch = parts.add_parser(
        "fetch", help="download the books of a list that are not there yet, politely"
    )
    fetch.add_argument("--out", type=Path, required=True, help="folder for the texts")
    fetch.add_argument(
        "--catalog",
        type=Path,
        default=BOOKS,
        help="list of books (id, title, author); 99 by default",
    )
    fetch.add_argument(
        "--mirror",
        help="folder or address with <id>.txt, or address with {id}; Project Gutenberg by default",
    )
    fetch.add_argument(
        "--pause", type=float, default=2.0, help="seconds between two downloads (default: 2)"
    )
    fetch.set_defaults(command=_fetch)

    build = parts.add_parser(
        "build", help="make training data of a folder of texts, or of one text file"
    )
    build.add_argument(
        "--source",
        type=Path,
        required=True,
        help="a .txt file, or a folder of them; catalog.csv names its books",
    )
    build.add_argument("--out", type=Path, required=True, help="corpus folder to write")
    build.add_argument(
        "--keep-lines", action="store_true", help="leave hard-wrapped lines as they are"
    )
    build.set_defaults(command=_build)


def _fetch(arguments: argparse.Namespace) -> None:
    from ml.data.corpus import read_catalog
    from ml.data.fetch import GUTENBERG, fetch

    catalog = read_catalog(arguments.catalog)
    mirror = arguments.mirror or GUTENBERG
    fetched = fetch(catalog, arguments.out, mirror=mirror, pause=arguments.pause)
    print(f"{arguments.out} holds {len(catalog)} books, {fetched} of them fetched now")


def _build(arguments: argparse.Namespace) -> None:
    from ml.data.corpus import build

    corpus = build(arguments.source, arguments.out, join_lines=not arguments.keep_lines)
    print(
        f"{len(corpus.books)} books, {len(corpus.train):,} characters to train on, "
        f"{len(corpus.validation):,} to validate, "
        f"{len(corpus.vocabulary)} symbols, digest {corpus.digest[:12]}"
    )
    print(f"{_share(corpus.lost_share)} of the text is lost{_left_out(corpus)}")


def _share(share: float) -> str:
    return f"{100 * share:.3g} %"


def _left_out(corpus: Corpus) -> str:
    """Return the end of a sentence that names the characters without a symbol."""
    if not corpus.left_out:
        return ""
    some, more = corpus.left_out[:SHOWN_LEFT_OUT], len(corpus.left_out) - SHOWN_LEFT_OUT
    others = f" and {more:,} more" if more > 0 else ""
    return f": {', '.join(map(repr, some))}{others} are too rare and become the unknown symbol"
