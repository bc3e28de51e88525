"""The text of a request, generated alone, one character after another: the engine must equal it."""

from __future__ import annotations

from ml.engine.sampler import Sampler
from ml.engine.step import Step
from ml.engine.stream import FinishReason, Request, Stream
from ml.vocabulary import Vocabulary


def generate(step: Step, vocabulary: Vocabulary, request: Request) -> Stream:
    """Return the finished stream of `request`, using row 0 of `step`."""
    stream = Stream(request)
    if reason := stream.replay():
        stream.finish(reason)
        return stream
    sampler = Sampler(1, len(vocabulary))
    sampler.set(0, request.sampling, len(request.text))
    step.reset(0)
    for index in request.prefix(vocabulary).tolist():
        step.ids[0] = index
        logits = step.run(0, 1)
    while True:
        ids, measured = sampler.sample(logits)
        finish: FinishReason | None = stream.append(
            vocabulary.symbols[ids[0]], *measured[:, 0].tolist()
        )
        if finish:
            stream.finish(finish)
            return stream
        step.ids[0] = ids[0]
        logits = step.run(0, 1)
