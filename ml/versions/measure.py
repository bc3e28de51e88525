"""How well a model version predicts a text file, or the validation split of a corpus, book by book."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ml.data.corpus import Book, Corpus, read_book, read_text
from ml.engine.step import OnnxStep
from ml.versions.evaluate import Evaluation, evaluate
from ml.versions.graph import build_fp32_graph
from ml.versions.registry import CHAMPION, NAME, Registry, RegistryError
from ml.versions.version import Version, read_step_graph, read_version, read_weights
from ml.vocabulary import Ids, normalize

LANES = 64


class Judge:
    """A version ready to be measured. `precision` is "int8", which is what serves, or "fp32"."""

    def __init__(self, version: Version, *, precision: str = "int8", threads: int = 2) -> None:
        self.version = version
        graph = (
            read_step_graph(version)
            if precision == "int8"
            else build_fp32_graph(version.model, read_weights(version))
        )
        self._step = OnnxStep(graph, version.model, rows=LANES, threads=threads)

    @property
    def join_lines(self) -> bool:
        """Whether wrapped lines were joined in the version's corpus; of one that does not say, as `corpus build` does it."""
        return self.version.training.get("join_lines") is not False

    def text(self, path: Path, *, raw: bool = False) -> Evaluation:
        """Return the evaluation of a UTF-8 text file, cleaned as the version's corpus was.

        With `raw` it is read as it is but for quotes and line ends, licence and all. Raises
        CorpusError.
        """
        text = normalize(read_text(path)) if raw else read_book(path, join_lines=self.join_lines)
        return evaluate(
            self._step, self.version.vocabulary, self.version.vocabulary.encode(text), lanes=LANES
        )

    def corpus(self, corpus: Corpus) -> Evaluation:
        """Return the evaluation of the whole validation split, read as one text."""
        return self._corpus_part(corpus, corpus.validation)

    def books(self, corpus: Corpus) -> list[tuple[Book, Evaluation]]:
        """Return the evaluation of each book's part of the validation split, each read from the zero state."""
        return [
            (book, self._corpus_part(corpus, ids, book.title))
            for book, ids in corpus.validation_books()
            if len(ids)
        ]

    def _corpus_part(self, corpus: Corpus, ids: Ids, title: str = "") -> Evaluation:
        translation = self.version.vocabulary.encode(
            corpus.vocabulary.symbols
        )  # (V,): the same id if the symbols are the same
        return evaluate(
            self._step, self.version.vocabulary, translation[ids], lanes=LANES, title=title[:30]
        )


def total(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluation of several texts together."""
    chars = sum(evaluation.chars for evaluation in evaluations)
    nats = sum(evaluation.nats_per_char * evaluation.chars for evaluation in evaluations)
    return Evaluation(
        nats / chars, chars, sum(evaluation.unknown_chars for evaluation in evaluations)
    )


@contextmanager
def found_version(name: str) -> Iterator[Version]:
    """Yield the version in the folder `name`, or that of the registry at MLFLOW_TRACKING_URI.

    In the registry it is a number, "charrnn/3" or "champion". Raises CheckpointError or
    RegistryError.
    """
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
