"""How well a model version predicts a text, a file or the validation split of a corpus.

A long text is read in many parts at once, through the same step that serves. How the engine scores
a single short text is in ml/engine/scoring.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from ml.data.corpus import Book, Corpus, read_book, read_text
from ml.engine.scoring import log_probabilities
from ml.engine.step import OnnxStep, Step
from ml.engine.stream import START
from ml.errors import UserError
from ml.versions.graph import build_fp32_graph
from ml.versions.version import Version, read_step_graph
from ml.versions.weights import read_weights
from ml.vocabulary import Ids, Vocabulary, normalize

LANES = 64  # parts of a text that are read side by side
MIN_LANE = 2_000  # characters: a lane is at least ten times as long as its context
# Characters before a lane that are read but not scored. With them, cutting a text into lanes
# changes its loss by next to nothing.
CONTEXT = 200


class EvaluationError(UserError):
    """There is nothing to evaluate on; the message says why."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well a model predicts a text, its unknown characters included."""

    nats_per_char: float
    chars: int
    unknown_chars: int  # the model is expected to predict the unknown symbol for them

    @property
    def bits_per_char(self) -> float:
        """The same loss in bits."""
        return self.nats_per_char / math.log(2)


def total(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluation of several texts together."""
    chars = sum(evaluation.chars for evaluation in evaluations)
    nats = sum(evaluation.nats_per_char * evaluation.chars for evaluation in evaluations)
    unknown = sum(evaluation.unknown_chars for evaluation in evaluations)
    return Evaluation(nats / chars, chars, unknown)


class Evaluator:
    """A loaded version, ready to be evaluated on texts."""

    def __init__(self, version: Version, *, precision: str = "int8", threads: int = 2) -> None:
        """Load the step of `version`: "int8", which is what serves, or "fp32"."""
        self.version = version
        graph = (
            read_step_graph(version)
            if precision == "int8"
            else build_fp32_graph(version.model, read_weights(version))
        )
        self._step = OnnxStep(graph, version.model, rows=LANES, threads=threads)

    @property
    def join_lines(self) -> bool:
        """Whether wrapped lines were joined in the version's corpus.

        Versions that do not say so count as joined, which is the default of `corpus build`.
        """
        return self.version.training.get("join_lines") is not False

    def text(self, path: Path, *, raw: bool = False) -> Evaluation:
        """Return the evaluation of a UTF-8 text file, cleaned as the version's corpus was.

        With `raw` only quotes and line ends are normalised; licence and wrapped lines stay. Raises
        CorpusError.
        """
        text = normalize(read_text(path)) if raw else read_book(path, join_lines=self.join_lines)
        return self._evaluate(self.version.vocabulary.encode(text))

    def corpus(self, corpus: Corpus) -> Evaluation:
        """Return the evaluation of the whole validation split, read as one text."""
        return self._corpus_part(corpus, corpus.validation)

    def books(self, corpus: Corpus) -> list[tuple[Book, Evaluation]]:
        """Return the evaluation of each book's part of the validation split.

        Each is read from the zero state.
        """
        return [
            (book, self._corpus_part(corpus, ids, book.title))
            for book, ids in corpus.validation_books()
            if len(ids)
        ]

    def _corpus_part(self, corpus: Corpus, ids: Ids, title: str = "") -> Evaluation:
        # (V,) from the corpus's ids to the version's: the identity if both have the same symbols.
        translation = self.version.vocabulary.encode(corpus.vocabulary.symbols)
        return self._evaluate(translation[ids], title[:30])

    def _evaluate(self, ids: Ids, title: str = "") -> Evaluation:
        return evaluate(self._step, self.version.vocabulary, ids, lanes=LANES, title=title)


def evaluate(
    step: Step, vocabulary: Vocabulary, ids: Ids, *, lanes: int, title: str = ""
) -> Evaluation:
    """Return the evaluation of `ids`, read in up to `lanes` consecutive parts in rows of `step`.

    State is carried within a part. The first part starts from the zero state and the start
    character; the others first read the CONTEXT characters before them. A short text is read in
    one part, which equals Engine.score exactly.
    """
    if not len(ids):
        raise EvaluationError("the text to evaluate on is empty")
    lanes = max(1, min(lanes, len(ids) // MIN_LANE))
    bounds = np.linspace(0, len(ids), lanes + 1).astype(np.int64)
    start = vocabulary.encode(START)
    context = CONTEXT if lanes > 1 else 0
    nats = 0.0
    windows = _windows(np.concatenate([start, ids]), bounds, context)
    for row in range(lanes):
        step.reset(row)
    with tqdm(
        total=len(ids), unit="char", unit_scale=True, desc=title or "evaluate", disable=None
    ) as bar:
        for at in range(windows.shape[1] - 1):
            if at == context:
                step.reset(0)  # nothing comes before the first part
            step.ids[:lanes] = windows[:, at].clip(0)
            logits = step.run(0, lanes)
            if at < context:
                continue
            targets = windows[:, at + 1]
            scored = np.flatnonzero(targets >= 0)
            nats -= float(log_probabilities(logits)[scored, targets[scored]].sum())
            bar.update(len(scored))
    unknown = int(np.count_nonzero(ids == vocabulary.unknown_id))
    return Evaluation(nats / len(ids), len(ids), unknown)


def _windows(text: Ids, bounds: npt.NDArray[np.int64], context: int) -> npt.NDArray[np.int64]:
    """Return the ids that each lane reads (lanes, context + longest part + 1); -1 after its end.

    `text` begins with the start character; part i is text[1 + bounds[i] : 1 + bounds[i + 1]]. Lane
    0 has no characters before it, so its context is filler.
    """
    longest = int(np.diff(bounds).max())
    windows = np.full((len(bounds) - 1, context + longest + 1), -1, np.int64)
    for lane, (begin, end) in enumerate(
        zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ):
        known = min(begin, context)
        windows[lane, context - known : context + 1 + end - begin] = text[begin - known : end + 1]
    return windows
