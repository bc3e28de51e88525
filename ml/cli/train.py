"""`python -m ml train` and `export`: from a corpus to a run, and from a run to a version."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.cli.registry import open_registry, tracking_uri
from ml.config import TrainConfig

if TYPE_CHECKING:
    from ml.data.corpus import Corpus
    from ml.training.tracking import Tracker


def add_train(commands: Any) -> None:
    """Add `train`, with an option for each value of TrainConfig."""
    train = commands.add_parser(
        "train",
        help="train a model, or go on with a run",
        description="Train a model, or go on with a run. Ctrl-C ends it cleanly; the same command "
        "goes on. With MLFLOW_TRACKING_URI set, everything is logged there as it goes.",
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


def add_export(commands: Any) -> None:
    """Add `export`."""
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
    uri = tracking_uri() if arguments.register else os.environ.get("MLFLOW_TRACKING_URI", "")
    tracker = Tracker(uri, arguments.run) if uri else None
    corpus = Corpus.open(arguments.corpus)
    trainer = Trainer(config, corpus, arguments.run, tracker)
    loss = trainer.run()
    print(
        f"{trainer.chars:,} characters, {trainer.seconds / 60:.1f} minutes, "
        f"validation {loss:.4f} nats/char"
    )
    if not trainer.finished:
        print("stopped before the end; the same command goes on from here")
    elif tracker and arguments.register:
        _register_best(tracker, corpus, arguments)


def _register_best(tracker: Tracker, corpus: Corpus, arguments: argparse.Namespace) -> None:
    from ml.versions.release import release_best

    version = release_best(corpus, arguments.run, title=arguments.title, threads=arguments.threads)
    registered = open_registry().register(version.folder)
    tracker.registered(registered.name, registered.version)
    print(f"{registered.name} version {registered.version}: {registered.title}")


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
