"""The command line of `ml`.

Each command imports what it needs when it runs, so that `--help` is instant.
"""

from __future__ import annotations

import argparse
import sys

from ml.cli import corpus, evaluate, registry, train
from ml.errors import UserError


def main(argv: list[str] | None = None) -> None:
    """Run one command; a failure the user can act on is one sentence on stderr and exit code 1."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(
            f"error: {error.filename}: {error.strerror}"
            if error.filename and error.strerror
            else f"error: {error}"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    corpus.add_corpus(commands)
    train.add_train(commands)
    train.add_export(commands)
    evaluate.add_evaluate(commands)
    registry.add_register(commands)
    registry.add_fetch(commands)
    return parser
