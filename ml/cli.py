"""The command line of `ml`. Each command imports what it needs when it runs, so that `--help` is instant."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.config import TrainConfig

if TYPE_CHECKING:
    from ml.data.corpus import Corpus
    from ml.training.tracking import Tracker
    from ml.versions.evaluate import Evaluation
    from ml.versions.registry import Registry

SHOWN_LEFT_OUT = 10  # characters
BOOKS = Path(__file__).parent.parent / "data" / "gutenberg.csv"


def main(argv: list[str] | None = None) -> None:
    """Run one command; a failure the user can act on is one sentence on stderr and exit code 1."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except OSError as error:
        sys.exit(
            f"error: {error.filename}: {error.strerror}"
            if error.filename and error.strerror
            else f"error: {error}"
        )
    except Exception as error:
        if type(error).__module__.startswith("ml."):
            sys.exit(f"error: {error}")
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_corpus(commands)
    _add_train(commands)
    _add_export(commands)
    _add_evaluate(commands)

    register = commands.add_parser(
        "register", help="register a version folder in the registry at MLFLOW_TRACKING_URI"
    )
    register.add_argument("folder", type=Path)
    register.set_defaults(command=_register)

    fetch = commands.add_parser(
        "fetch", help="copy the files of a registered version from the registry, verified"
    )
    fetch.add_argument("--version", type=int, required=True)
    fetch.add_argument("--out", type=Path, required=True)
    fetch.set_defaults(command=_fetch)
    return parser


def _add_corpus(commands: Any) -> None:
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
    fetch.set_defaults(command=_corpus_fetch)

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
    build.set_defaults(command=_corpus_build)


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train a model, or go on with a run",
        description="Train a model, or go on with a run. Ctrl-C ends it cleanly; the same command goes on. With "
        "MLFLOW_TRACKING_URI set, everything is logged there as it goes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    train.add_argument("--corpus", type=Path, required=True, help="corpus folder")
    train.add_argument(
        "--run", type=Path, required=True, help="run folder; an existing run is continued"
    )
    train.add_argument(
        "--register",
        action="store_true",
        help="at the end make a version of the best snapshot and register it",
    )
    train.add_argument("--title", default="", help="of the registered version, for people")
    for option in dataclasses.fields(TrainConfig):
        flag = "--" + option.name.replace("_", "-")
        choices = option.metadata["choices"] or None
        train.add_argument(
            flag,
            type=type(option.default),
            default=option.default,
            choices=choices,
            help=option.metadata["help"],
        )
    train.set_defaults(command=_train)


def _add_export(commands: Any) -> None:
    export = commands.add_parser(
        "export", help="make a model version, ready to serve, of a training run"
    )
    export.add_argument(
        "--corpus", type=Path, required=True, help="corpus folder the run was trained on"
    )
    export.add_argument("--run", type=Path, required=True, help="run folder")
    export.add_argument(
        "--chars", type=int, required=True, help="take the snapshot nearest to this many characters"
    )
    export.add_argument(
        "--out", type=Path, required=True, help="version folder to write, new or empty"
    )
    export.add_argument(
        "--title", required=True, help='for people, such as "2x512 after 12 M characters"'
    )
    export.add_argument(
        "--validation-chars",
        type=int,
        help="validate on the first so many only; the whole split otherwise",
    )
    export.add_argument("--threads", type=int, default=2)
    export.set_defaults(command=_export)


def _add_evaluate(commands: Any) -> None:
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


def _corpus_fetch(arguments: argparse.Namespace) -> None:
    from ml.data.corpus import read_catalog
    from ml.data.fetch import GUTENBERG, fetch

    catalog = read_catalog(arguments.catalog)
    mirror = arguments.mirror or GUTENBERG
    fetched = fetch(catalog, arguments.out, mirror=mirror, pause=arguments.pause)
    print(f"{arguments.out} holds {len(catalog)} books, {fetched} of them fetched now")


def _corpus_build(arguments: argparse.Namespace) -> None:
    from ml.data.corpus import build

    corpus = build(arguments.source, arguments.out, join_lines=not arguments.keep_lines)
    print(
        f"{len(corpus.books)} books, {len(corpus.train):,} characters to train on, {len(corpus.validation):,} to validate, "
        f"{len(corpus.vocabulary)} symbols, digest {corpus.digest[:12]}"
    )
    print(f"{_share(corpus.lost_share)} of the text is lost{_left_out(corpus)}")


def _share(share: float) -> str:
    return f"{100 * share:.3g} %"


def _left_out(corpus: Corpus) -> str:
    """Say which characters have no symbol."""
    if not corpus.left_out:
        return ""
    some, more = corpus.left_out[:SHOWN_LEFT_OUT], len(corpus.left_out) - SHOWN_LEFT_OUT
    others = f" and {more:,} more" if more > 0 else ""
    return f": {', '.join(map(repr, some))}{others} are too rare and become the unknown symbol"


def _train(arguments: argparse.Namespace) -> None:
    from ml.data.corpus import Corpus
    from ml.training.tracking import Tracker
    from ml.training.trainer import Trainer

    config = TrainConfig(
        **{
            option.name: getattr(arguments, option.name)
            for option in dataclasses.fields(TrainConfig)
        }
    )
    uri = _tracking_uri() if arguments.register else os.environ.get("MLFLOW_TRACKING_URI", "")
    tracker = Tracker(uri, arguments.run) if uri else None
    corpus = Corpus.open(arguments.corpus)
    trainer = Trainer(config, corpus, arguments.run, tracker)
    loss = trainer.run()
    print(
        f"{trainer.chars:,} characters, {trainer.seconds / 60:.1f} minutes, validation {loss:.4f} nats/char"
    )
    if not trainer.finished:
        print("stopped before the end; the same command goes on from here")
    elif tracker and arguments.register:
        _register_best(tracker, corpus, arguments)


def _register_best(tracker: Tracker, corpus: Corpus, arguments: argparse.Namespace) -> None:
    from ml.versions.release import release_best

    version = release_best(corpus, arguments.run, title=arguments.title, threads=arguments.threads)
    registered = _registry().register(version.folder)
    tracker.registered(registered.name, registered.version)
    print(f"{registered.name} version {registered.version}: {registered.title}")


def _register(arguments: argparse.Namespace) -> None:
    version = _registry().register(arguments.folder)
    print(f"{version.name} version {version.version}: {version.title}")


def _fetch(arguments: argparse.Namespace) -> None:
    from ml.versions.entries import VersionRefused
    from ml.versions.version import CheckpointError

    try:
        version = _registry().fetch(arguments.version, arguments.out)
    except (CheckpointError, VersionRefused) as error:  # whoever started us need not try again
        print(f"error: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", VersionRefused.exit_code))
    print(f"{version.title}, digest {version.digest}")


def _registry() -> Registry:
    from ml.versions.registry import Registry

    return Registry(_tracking_uri())


def _tracking_uri() -> str:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        sys.exit(
            "error: set MLFLOW_TRACKING_URI to the registry, such as sqlite:///data/var/mlflow.db"
        )
    return uri


def _export(arguments: argparse.Namespace) -> None:
    from ml.data.corpus import Corpus
    from ml.versions.release import release

    version = release(
        Corpus.open(arguments.corpus),
        arguments.run,
        arguments.out,
        chars=arguments.chars,
        title=arguments.title,
        validation_chars=arguments.validation_chars,
        threads=arguments.threads,
    )
    size = sum(path.stat().st_size for path in version.folder.iterdir())
    print(f"{version.folder}: {version.title}, {size:,} bytes, digest {version.digest}")
    for name, value in version.metrics.items():
        print(f"  {name}: {value}")


def _evaluate(arguments: argparse.Namespace) -> None:
    from ml.data.corpus import Corpus
    from ml.versions.measure import Judge, found_version, total

    if arguments.raw and not arguments.text:
        sys.exit("error: --raw is for --text; a corpus is read as it was built")
    with found_version(arguments.model) as version:
        judge = Judge(version, precision=arguments.precision, threads=arguments.threads)
    if arguments.text:
        values = {
            "read_as": _read_as(judge.join_lines, arguments.raw),
            **_values(judge.text(arguments.text, raw=arguments.raw)),
        }
    else:
        corpus = Corpus.open(arguments.corpus)
        books = judge.books(corpus) if arguments.per_book else []
        whole = total([evaluation for _, evaluation in books]) if books else judge.corpus(corpus)
        values = {"read_as": _read_as(corpus.join_lines), **_values(whole)}
        if books:
            values["books"] = [
                {"id": book.id, "title": book.title, **_values(evaluation)}
                for book, evaluation in books
            ]
    if arguments.json:
        print(json.dumps(values, ensure_ascii=False))
        return
    for book in sorted(values.pop("books", []), key=lambda book: book["nats_per_char"]):
        print(
            f"{book['nats_per_char']:.4f} nats/char, {book['chars']:>9,} characters  {book['title']}"
        )
    for name, value in values.items():
        print(f"{name}: {value}")


def _read_as(join_lines: bool, raw: bool = False) -> str:
    """Say how the text was read: a loss on wrapped lines is not to be set beside one on joined ones."""
    return "raw" if raw else f"cleaned, wrapped lines {'joined' if join_lines else 'kept'}"


def _values(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "nats_per_char": round(evaluation.nats_per_char, 6),
        "bits_per_char": round(evaluation.bits_per_char, 6),
        "chars": evaluation.chars,
        "unknown_chars": evaluation.unknown_chars,
    }
