"""Loss on a long text, many parts of it at once, through the same step that serves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from ml.engine.scoring import log_probabilities
from ml.engine.step import Step
from ml.engine.stream import START
from ml.vocabulary import Ids, Vocabulary

MIN_LANE = 2_000  # characters: a lane is at least ten times as long as what is read before it
CONTEXT = 200  # characters read, but not scored, before a lane, so that cutting the text into lanes costs next to nothing


class EvaluationError(Exception):
    """There is nothing to evaluate on; the message says why."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well a model predicts a text. Unknown characters count: the model is to predict the unknown symbol."""

    nats_per_char: float
    chars: int
    unknown_chars: int

    @property
    def bits_per_char(self) -> float:
        """The same loss in bits."""
        return self.nats_per_char / math.log(2)


def evaluate(
    step: Step, vocabulary: Vocabulary, ids: Ids, *, lanes: int, title: str = ""
) -> Evaluation:
    """Return the evaluation of `ids`, read in up to `lanes` consecutive parts with carried state in rows of `step`.

    The first part starts from the zero state and the start character, the others read the CONTEXT
    characters before them first. A short text is read in one part, which is exactly Engine.score.
    """
    if not len(ids):
        raise EvaluationError("the text to evaluate on is empty")
    lanes = max(1, min(lanes, len(ids) // MIN_LANE))
    bounds = np.linspace(0, len(ids), lanes + 1).astype(np.int64)
    start = vocabulary.encode(START)
    context = CONTEXT if lanes > 1 else 0
    total = 0.0
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
            total -= float(log_probabilities(logits)[scored, targets[scored]].sum())
            bar.update(len(scored))
    return Evaluation(
        total / len(ids), len(ids), int(np.count_nonzero(ids == vocabulary.unknown_id))
    )


def _windows(text: Ids, bounds: npt.NDArray[np.int64], context: int) -> npt.NDArray[np.int64]:
    """Return the ids that each lane reads (lanes, context + longest part + 1); -1 after the end of a lane.

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
