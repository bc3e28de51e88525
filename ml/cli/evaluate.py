"""`python -m ml evaluate`: how well a version predicts a text."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml import strict_json
from ml.errors import UserError

if TYPE_CHECKING:
    from ml.versions.evaluation import Evaluation, Evaluator
    from ml.versions.version import Version


def add_evaluate(commands: Any) -> None:
    """Add `evaluate`."""
    evaluate = commands.add_parser(
        "evaluate", help="measure how well a model version predicts a text"
    )
    evaluate.add_argument(
        "--model", required=True, help="version folder, or a registry version such as 3 or champion"
    )
    what = evaluate.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--text", type=Path, help="UTF-8 text file, cleaned as the version's corpus was"
    )
    what.add_argument(
        "--corpus", type=Path, help="corpus folder, of which the validation split is read"
    )
    evaluate.add_argument(
        "--raw",
        action="store_true",
        help="with --text: the file as it is, with licence and wrapped lines",
    )
    evaluate.add_argument(
        "--per-book", action="store_true", help="with --corpus: also each book by itself"
    )
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.add_argument(
        "--precision", choices=("int8", "fp32"), default="int8", help="int8 is what serves"
    )
    evaluate.add_argument("--threads", type=int, default=2)
    evaluate.set_defaults(command=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> None:
    from ml.versions.evaluation import Evaluator

    if arguments.raw and not arguments.text:
        raise UserError("--raw is for --text; a corpus is read as it was built")
    with _found_version(arguments.model) as version:
        evaluator = Evaluator(version, precision=arguments.precision, threads=arguments.threads)
    values = (
        _of_text(evaluator, arguments.text, raw=arguments.raw)
        if arguments.text
        else _of_corpus(evaluator, arguments.corpus, per_book=arguments.per_book)
    )
    if arguments.json:
        print(strict_json.serialize(values))
        return
    for book in sorted(values.pop("books", []), key=lambda book: book["nats_per_char"]):
        nats, chars = f"{book['nats_per_char']:.4f}", f"{book['chars']:>9,}"
        print(f"{nats} nats/char, {chars} characters  {book['title']}")
    for name, value in values.items():
        print(f"{name}: {value}")


def _of_text(evaluator: Evaluator, path: Path, *, raw: bool) -> dict[str, Any]:
    evaluation = evaluator.text(path, raw=raw)
    return {"read_as": _read_as(evaluator.join_lines, raw), **_values(evaluation)}


def _of_corpus(evaluator: Evaluator, folder: Path, *, per_book: bool) -> dict[str, Any]:
    from ml.data.corpus import Corpus
    from ml.versions.evaluation import total

    corpus = Corpus.open(folder)
    books = evaluator.books(corpus) if per_book else []
    whole = total([evaluation for _, evaluation in books]) if books else evaluator.corpus(corpus)
    values = {"read_as": _read_as(corpus.join_lines), **_values(whole)}
    if books:
        values["books"] = [
            {"id": book.id, "title": book.title, **_values(evaluation)}
            for book, evaluation in books
        ]
    return values


@contextmanager
def _found_version(name: str) -> Iterator[Version]:
    """Yield the version in the folder `name`, or that of the registry at MLFLOW_TRACKING_URI.

    In the registry it is a number, "charrnn/3" or "champion". Raises VersionError or
    RegistryError.
    """
    from ml.versions.errors import RegistryError
    from ml.versions.registry import CHAMPION, NAME, Registry
    from ml.versions.version import read_version

    wanted = name.removeprefix(f"{NAME}/")
    if Path(name).is_dir() or not (wanted.isdecimal() or wanted == CHAMPION):
        yield read_version(Path(name))
        return
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        raise RegistryError(
            f"{name} is no folder; to look it up in the registry, set MLFLOW_TRACKING_URI"
        )
    registry = Registry(uri)
    number = registry.champion() if wanted == CHAMPION else int(wanted)
    if number is None:
        raise RegistryError("the registry has no champion")
    with tempfile.TemporaryDirectory() as scratch:
        yield registry.fetch(number, Path(scratch) / "version")


def _read_as(join_lines: bool, raw: bool = False) -> str:
    """Return how the text was read: losses on wrapped and on joined lines do not compare."""
    return "raw" if raw else f"cleaned, wrapped lines {'joined' if join_lines else 'kept'}"


def _values(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "nats_per_char": round(evaluation.nats_per_char, 6),
        "bits_per_char": round(evaluation.bits_per_char, 6),
        "chars": evaluation.chars,
        "unknown_chars": evaluation.unknown_chars,
    }
