"""Milliseconds until a text begins: a new one beside others, and one that goes on."""

from __future__ import annotations

import random
from collections import defaultdict
from statistics import median

from benchmarks.engine_report import THREADS
from ml.engine.engine import Engine, Request
from ml.sampling import Sampling
from ml.versions.load import start_engine
from ml.versions.version import Version

TOP_K = 40
TEMPERATURE = 0.8
PROMPT = "It was a dark and stormy night"  # 30 characters, read before the first is sampled
MANUSCRIPT = 10_000  # characters of the text that is continued


def parameters(length: int, seed: int) -> Sampling:
    """Return the sampling parameters of every text here."""
    return Sampling(length=length, seed=seed, temperature=TEMPERATURE, top_k=TOP_K)


def wait_ms(engine: Engine, request: Request) -> float:
    """Return the milliseconds to the first character of `request`."""
    stream = engine.submit(request)
    stream.wait()
    if stream.first_character_at is None:
        raise RuntimeError(f"no character was written: {stream.reason} {stream.error}")
    return 1000 * (stream.first_character_at - stream.submitted_at)


def first_character_ms(engine: Engine, tries: int) -> list[float]:
    """Return the sorted milliseconds to the first character of a stream while 63 others run."""
    others = [engine.submit(Request("", parameters(10**8, seed))) for seed in range(63)]
    times = []
    for seed in range(tries):
        # Shuffled, so that no state is kept of it.
        prompt = "".join(random.Random(seed).sample(PROMPT, len(PROMPT)))
        times.append(wait_ms(engine, Request(prompt, parameters(5, seed))))
    for stream in others:
        stream.cancel()
    for stream in others:
        stream.wait()
    return sorted(times)


def continuation_ms(version: Version, tries: int) -> dict[str, float]:
    """Return the median milliseconds to the first character of a manuscript's continuation.

    It goes on at the end, or at cuts in the last thousand characters, from states of the engine
    that wrote it, or else in an engine that keeps none.
    """
    keeping = start_engine(version, threads=max(THREADS))
    reading = start_engine(version, threads=max(THREADS), state_bytes=0)
    manuscript = keeping.submit(Request(PROMPT, parameters(MANUSCRIPT - len(PROMPT), 0)))
    manuscript.wait()
    text = PROMPT + manuscript.text
    cuts = random.Random(0).sample(range(MANUSCRIPT - 1_000, MANUSCRIPT), tries)
    times = defaultdict(list)
    # The last cut first: none goes on from the state of another.
    for seed, cut in enumerate(sorted(cuts, reverse=True), 1):
        sampling = parameters(5, seed)
        times["read_again"].append(wait_ms(reading, Request(text, sampling)))
        times["from_cut"].append(wait_ms(keeping, Request(text[:cut], sampling)))
        times["from_end"].append(wait_ms(keeping, Request(text, sampling)))
    keeping.close()
    reading.close()
    return {name: median(values) for name, values in times.items()} | {"length": len(text)}
