"""The command line of `ml`. Each command imports what it needs when it runs, so that `--help` is instant."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from ml.config import TrainConfig


def main(argv: list[str] | None = None) -> None:
    """Run one command; a failure the user can act on is one sentence on stderr and exit code 1."""
    from ml.corpus import CorpusError
    from ml.vocabulary import VocabularyError

    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
    except (CorpusError, VocabularyError, OSError) as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        if type(error).__module__.startswith("ml."):
            sys.exit(f"error: {error}")
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    corpus = commands.add_parser("corpus", help="make training data of a folder of books")
    corpus.add_argument("--source", type=Path, required=True, help="folder with catalog.csv and <id>.txt files")
    corpus.add_argument("--out", type=Path, required=True, help="corpus folder to write")
    corpus.add_argument("--keep-lines", action="store_true", help="leave hard-wrapped lines as they are")
    corpus.set_defaults(command=_corpus)

    train = commands.add_parser(
        "train", help="train a model, or go on with a run", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    train.add_argument("--corpus", type=Path, required=True, help="corpus folder")
    train.add_argument("--run", type=Path, required=True, help="run folder; an existing run is continued")
    for field in dataclasses.fields(TrainConfig):
        flag = "--" + field.name.replace("_", "-")
        train.add_argument(flag, type=type(field.default), default=field.default, help=" ")
    train.set_defaults(command=_train)

    _add_export(commands)
    _add_evaluate(commands)

    register = commands.add_parser("register", help="register a version folder in the registry at MLFLOW_TRACKING_URI")
    register.add_argument("folder", type=Path)
    register.set_defaults(command=_register)

    fetch = commands.add_parser("fetch", help="copy the files of a registered version from the registry, verified")
    fetch.add_argument("--version", type=int, required=True)
    fetch.add_argument("--out", type=Path, required=True)
    fetch.set_defaults(command=_fetch)
    return parser


def _add_export(commands: Any) -> None:
    export = commands.add_parser("export", help="make a model version, ready to serve, of a training run")
    export.add_argument("--corpus", type=Path, required=True, help="corpus folder the run was trained on")
    export.add_argument("--run", type=Path, required=True, help="run folder")
    export.add_argument("--chars", type=int, required=True, help="take the snapshot nearest to this many characters")
    export.add_argument("--out", type=Path, required=True, help="version folder to write, new or empty")
    export.add_argument("--title", required=True, help='for people, such as "2x512 after 12 M characters"')
    export.add_argument("--validation-chars", type=int, help="validate on the first so many only; the whole split otherwise")
    export.add_argument("--threads", type=int, default=2)
    export.set_defaults(command=_export)


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="measure how well a model version predicts a text")
    evaluate.add_argument("--model", type=Path, required=True, help="version folder")
    evaluate.add_argument("--text", type=Path, required=True, help="UTF-8 text file")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.add_argument("--precision", choices=("int8", "fp32"), default="int8", help="int8 is what serves")
    evaluate.add_argument("--threads", type=int, default=2)
    evaluate.set_defaults(command=_evaluate)


def _corpus(arguments: argparse.Namespace) -> None:
    from ml.corpus import build

    corpus = build(arguments.source, arguments.out, join_lines=not arguments.keep_lines)
    print(
        f"{len(corpus.books)} books, {len(corpus.train):,} characters to train on, {len(corpus.validation):,} to validate, "
        f"{len(corpus.vocabulary)} symbols, digest {corpus.digest[:12]}"
    )


def _train(arguments: argparse.Namespace) -> None:
    from ml.corpus import Corpus
    from ml.train import Trainer

    names = [field.name for field in dataclasses.fields(TrainConfig)]
    config = TrainConfig(**{name: getattr(arguments, name) for name in names})
    Trainer(config, Corpus.open(arguments.corpus), arguments.run).run()


def _register(arguments: argparse.Namespace) -> None:
    from ml.registry import Registry

    version = Registry(_tracking_uri()).register(arguments.folder)
    print(f"{version.name} version {version.version}: {version.title}")


def _fetch(arguments: argparse.Namespace) -> None:
    from ml.registry import Registry

    version = Registry(_tracking_uri()).fetch(arguments.version, arguments.out)
    print(f"{version.title}, digest {version.digest}")


def _tracking_uri() -> str:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        sys.exit("error: set MLFLOW_TRACKING_URI to the registry, such as sqlite:///data/var/mlflow.db")
    return uri


def _export(arguments: argparse.Namespace) -> None:
    from ml.corpus import Corpus
    from ml.release import release

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
    from ml.release import evaluate_file

    result = evaluate_file(arguments.model, arguments.text, precision=arguments.precision, threads=arguments.threads)
    values = {
        "nats_per_char": round(result.nats_per_char, 6),
        "bits_per_char": round(result.bits_per_char, 6),
        "chars": result.chars,
        "unknown_chars": result.unknown_chars,
    }
    if arguments.json:
        print(json.dumps(values))
    else:
        for name, value in values.items():
            print(f"{name}: {value}")
