"""Compare the speed of the trainer with a bare LSTM, and measure what opening a corpus costs.

    python -m benchmarks.bench_training [--quick]

Contestants for each precision, in alternating rounds, medians of all rounds:

    bare       only forward and backward of an nn.LSTM of the same shape, on ready one-hot input
    trainer    a whole update: batch, model, loss, backward, clipping, AdamW

Also measures one update by AdamW and by Muon on the same gradients (ms), and the time and memory of
opening a corpus of 68 M characters. Machines are shared and noisy, so only a ratio within one run
means something. Writes build/bench-training.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.machine import machine
from ml.config import TrainConfig, TrainingError
from ml.data.corpus import Corpus
from ml.training.batches import CHUNK
from ml.training.device import check_precision
from ml.training.trainer import Trainer
from ml.vocabulary import UNKNOWN, Vocabulary

ROOT = Path(__file__).parent.parent
SYMBOLS = 93  # as in the 99 books
PRECISIONS = ("fp32", "bf16")
CORPUS_CHARS = 68_000_000


def make_corpus() -> Corpus:
    """Return a corpus of noise; speed does not depend on the text."""
    ids = np.random.default_rng(0).integers(1, SYMBOLS, 40 * CHUNK + 1).astype(np.uint8)
    symbols = UNKNOWN + "".join(chr(33 + index) for index in range(SYMBOLS - 1))
    return Corpus(Vocabulary(symbols), ids, ids[:1000], (), "noise")


def bare_loop(config: TrainConfig) -> Callable[[], None]:
    """Return a call that does one forward and backward pass of a bare nn.LSTM."""
    lstm = nn.LSTM(SYMBOLS, config.hidden_size, config.num_layers)
    ids = torch.randint(0, SYMBOLS, (config.sequence_length, config.batch_size))
    inputs = functional.one_hot(ids, SYMBOLS).float()

    def call() -> None:
        lstm.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.precision == "bf16"):
            hidden, _ = lstm(inputs)
        hidden.float().sum().backward()

    return call


def speed(call: Callable[[], object], chars: int, seconds: float) -> float:
    """Return characters a second of repeated calls that read `chars` characters each."""
    count, begin = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds or not count:
        call()
        count += 1
    return count * chars / elapsed


def optimizer_ms(config: TrainConfig, tries: int) -> dict[str, float]:
    """Return the median milliseconds of one update of the weight matrices, by optimizer."""
    lstm = nn.LSTM(SYMBOLS, config.hidden_size, config.num_layers)
    matrices = [parameter for parameter in lstm.parameters() if parameter.ndim == 2]
    for parameter in matrices:
        parameter.grad = torch.randn_like(parameter)
    optimizers = {
        "adamw": torch.optim.AdamW(matrices, foreach=True),
        "muon": torch.optim.Muon(matrices),
    }
    times = defaultdict(list)
    for _ in range(tries):
        for name, optimizer in optimizers.items():
            begin = time.perf_counter()
            optimizer.step()
            times[name].append(1000 * (time.perf_counter() - begin))
    return {name: median(values) for name, values in times.items()}


OPENING = """
import sys, time
from pathlib import Path
from ml.data.corpus import Corpus
begin = time.perf_counter()
corpus = Corpus.open(Path(sys.argv[1]))
seconds = time.perf_counter() - begin
status = Path("/proc/self/status").read_text().splitlines()
peak = next(line for line in status if line.startswith("VmHWM"))
print(seconds, int(peak.split()[1]) / 1024)
assert len(corpus.train) + len(corpus.validation) == int(sys.argv[2])
"""


def opening_a_corpus() -> dict[str, float]:
    """Return the seconds to open 68 M characters, and the peak memory (MB) of the process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split = CORPUS_CHARS * 95 // 100
        (folder / "train.bin").write_bytes(bytes(split))
        (folder / "validation.bin").write_bytes(bytes(CORPUS_CHARS - split))
        book = {
            "id": "1",
            "title": "",
            "author": "",
            "train_chars": split,
            "validation_chars": CORPUS_CHARS - split,
        }
        meta = {"vocabulary": UNKNOWN + "a", "digest": "", "join_lines": True, "books": [book]}
        (folder / "corpus.json").write_text(json.dumps(meta))
        command = [sys.executable, "-c", OPENING, name, str(CORPUS_CHARS)]
        values = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout.split()
    return dict(zip(("seconds", "process_mb"), map(float, values), strict=True))


def precisions() -> list[str]:
    """Return the precisions in which this processor can train."""
    possible = []
    for precision in PRECISIONS:
        try:
            check_precision(precision, torch.device("cpu"))
        except TrainingError as error:
            print(f"{precision} is left out: {error}")
        else:
            possible.append(precision)
    return possible


def measure(rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Return the median characters a second by precision and contestant, and their ratio."""
    corpus = make_corpus()
    possible = precisions()
    calls: dict[str, dict[str, Callable[[], object]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for precision in possible:
            config = TrainConfig(precision=precision, max_chars=10**9, device="cpu")
            trainer = Trainer(config, corpus, Path(name) / precision)
            calls[precision] = {"bare": bare_loop(config), "trainer": trainer.train_step}
    chars = config.batch_size * config.sequence_length
    samples: dict[str, dict[str, list[float]]] = {p: defaultdict(list) for p in possible}
    for number in range(rounds + 1):
        for precision in possible:
            for contestant, call in calls[precision].items():
                rate = speed(call, chars, seconds)
                if number:  # the first round is a warm-up
                    samples[precision][contestant].append(rate)
    rates = {p: {name: median(values) for name, values in samples[p].items()} for p in possible}
    for precision in possible:
        pairs = zip(samples[precision]["trainer"], samples[precision]["bare"], strict=True)
        rates[precision]["ratio"] = median(ours / bare for ours, bare in pairs)
    return rates


def main() -> None:
    """Run the benchmark; print and save the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    arguments = parser.parse_args()
    rounds, seconds = (1, 0.5) if arguments.quick else (9, 2.0)
    config = TrainConfig()
    rates = measure(rounds, seconds)
    result: dict[str, Any] = {
        "shape": f"{config.num_layers}x{config.hidden_size}, "
        f"{config.batch_size} x {config.sequence_length}, {SYMBOLS} symbols",
        "chars_per_second": rates,
        "optimizer_ms": optimizer_ms(config, 2 if arguments.quick else 9),
        "opening_68_m_chars": opening_a_corpus(),
        "threads": config.threads,
        "rounds": rounds,
        "torch": torch.__version__,
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    print(f"{result['shape']}; {config.threads} threads; {result['machine']}; {result['date']}")
    for precision, row in rates.items():
        speeds = f"bare nn.LSTM {row['bare']:,.0f} char/s, trainer {row['trainer']:,.0f} char/s"
        print(f"{precision}: {speeds} = {100 * row['ratio']:.0f} %")
    print(
        "one update of the matrices: "
        + ", ".join(f"{name} {ms:.0f} ms" for name, ms in result["optimizer_ms"].items())
    )
    opening = result["opening_68_m_chars"]
    print(
        f"opening {CORPUS_CHARS:,} characters: {opening['seconds']:.3f} s, "
        f"{opening['process_mb']:.0f} MB in all"
    )
    path = ROOT / "build" / "bench-training.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
