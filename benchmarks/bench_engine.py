"""Compare the speed of the engine with a plain loop, measured in the same minutes.

    python -m benchmarks.bench_engine [--model FOLDER] [--quick]

Contestants, in alternating rounds, medians of all rounds:

    loop       nn.LSTM on a one-hot character, softmax, top-k, numpy.random.choice; one at a time
    torch      the engine's torch step (ml/engine/torch_step.py) and its sampler
    onnx_fp32  the single-precision step graph and the engine's sampler
    engine     the engine as it serves: int8 graph, sampling, threads, streams

Machines are shared and noisy, so only a ratio within one run means something. Writes
build/bench-engine.json and a plot.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from benchmarks.engine_report import ENGINE, STREAMS, THREADS, Rates, plot, report
from benchmarks.first_characters import (
    PROMPT,
    TEMPERATURE,
    TOP_K,
    continuation_ms,
    first_character_ms,
    parameters,
)
from benchmarks.machine import machine
from ml.config import ModelConfig
from ml.engine.engine import Engine, Request
from ml.engine.sampler import Sampler
from ml.engine.step import OnnxStep, Step
from ml.engine.torch_step import TorchStep
from ml.training.model import CharRNN
from ml.versions.graph import build_fp32_graph
from ml.versions.load import load_step, start_engine
from ml.versions.version import Version, read_version
from ml.versions.weights import read_weights

ROOT = Path(__file__).parent.parent


def loop_rate(model: CharRNN, symbols: int, threads: int, seconds: float) -> float:
    """Return characters a second of the loop that the reference application runs."""
    torch.set_num_threads(threads)
    state, index, count = None, 1, 0
    begin = time.perf_counter()
    with torch.no_grad():
        while (elapsed := time.perf_counter() - begin) < seconds:
            one_hot = functional.one_hot(torch.tensor([[index]]), symbols).float()
            hidden, state = model.lstm(one_hot, state)
            probabilities = functional.softmax(
                model.linear(hidden.reshape(1, -1)) / TEMPERATURE, dim=1
            )
            top, candidates = probabilities.topk(TOP_K)
            weights = top.numpy().squeeze()
            index = int(np.random.choice(candidates.numpy().squeeze(), p=weights / weights.sum()))
            count += 1
    return count / elapsed


def step_rate(step: Step, streams: int, symbols: int, seconds: float) -> tuple[float, float]:
    """Return characters a second of a loop of step and sampler, and the sampler's share of time."""
    sampler = Sampler(streams, symbols)
    for row in range(streams):
        sampler.set(row, parameters(1, row), 0)
    count, sampling = 0, 0.0
    begin = time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds or not count:
        logits = step.run(0, streams)
        before = time.perf_counter()
        step.ids[:streams], _ = sampler.sample(logits)
        sampling += time.perf_counter() - before
        count += streams
    return count / elapsed, sampling / elapsed


def engine_rate(engine: Engine, streams: int, seconds: float) -> float:
    """Return characters a second of `streams` streams, from submit to the last one's end."""
    guess = 60_000 if streams >= 64 else 5_000 * streams
    length = max(50, int(guess * seconds / streams))
    begin = time.perf_counter()
    running = [engine.submit(Request("", parameters(length, seed))) for seed in range(streams)]
    for stream in running:
        stream.wait()
    return streams * length / (time.perf_counter() - begin)


def machine_limits(model: ModelConfig, seconds: float) -> dict[str, float]:
    """Return GFLOP/s of sgemm, GB/s of the cache, and the char/s that they allow in fp32."""
    torch.set_num_threads(max(THREADS))
    a, b = torch.rand(512, 1024), torch.rand(1024, 2048)
    weight, x = torch.rand(2048, 1024), torch.rand(1024)
    gflops = _per_second(lambda: torch.mm(a, b), seconds) * 2 * 512 * 1024 * 2048 / 1e9
    bandwidth = _per_second(lambda: torch.mv(weight, x), seconds) * weight.numel() * 4 / 1e9
    width = model.hidden_size
    # Products for one character, without those of the one-hot input.
    products = 4 * width * width * (2 * model.num_layers - 1) + width * model.vocab_size
    return {
        "sgemm_gflops": gflops,
        "bandwidth_gb_per_s": bandwidth,
        "fp32_many_streams_limit": gflops * 1e9 / (2 * products),
        "fp32_one_stream_limit": bandwidth * 1e9 / (4 * products),
    }


def _per_second(call: Callable[[], object], seconds: float) -> float:
    count, begin = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds:
        call()
        count += 1
    return count / elapsed


SERVING = """
import sys
from pathlib import Path
from ml.engine.engine import Request
from ml.sampling import Sampling
from ml.versions.load import load_engine
engine = load_engine(Path(sys.argv[1]), sys.argv[2], max_streams=64, threads=2, step="onnx")
for stream in [engine.submit(Request("", Sampling(length=300, seed=seed))) for seed in range(64)]:
    stream.wait()
import time
before = time.process_time()
time.sleep(1)
idle = time.process_time() - before
assert "torch" not in sys.modules
status = Path("/proc/self/status").read_text().splitlines()
peak = next(line for line in status if line.startswith("VmHWM"))
print(int(peak.split()[1]) / 1024, 100 * idle)
"""


def serving_process(version: Version) -> tuple[float, float]:
    """Return the peak memory (MB) and the idle CPU use (%) of a process that serves 64 streams."""
    command = [sys.executable, "-c", SERVING, str(version.folder), version.digest]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    rss, idle = output.split()
    return float(rss), float(idle)


class Bench:
    """The contestants and their measured rates, by name and "streams x threads"."""

    def __init__(self, version: Version, seconds: float) -> None:
        weights = read_weights(version)
        self.version = version
        self.seconds = seconds
        self.symbols = len(version.vocabulary)
        self.samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.sampling: list[float] = []
        self.module = CharRNN(version.model).eval()
        self.module.load_state_dict(
            {name: torch.from_numpy(value) for name, value in weights.items()}
        )
        rows = max(STREAMS)
        self.torch = TorchStep(version.model, weights, rows=rows, threads=1, device="cpu")
        graph = build_fp32_graph(version.model, weights)
        self.fp32 = {t: OnnxStep(graph, version.model, rows=rows, threads=t) for t in THREADS}
        self.int8 = {t: load_step(version, rows=64, threads=t) for t in THREADS}
        self.engines = {t: start_engine(version, max_streams=rows, threads=t) for t in THREADS}

    def jobs(self, streams: tuple[int, ...]) -> list[tuple[str, str, Callable[[], float]]]:
        """Return (contestant, "streams x threads", measurement) of one round, alternating."""
        jobs: list[tuple[str, str, Callable[[], float]]] = []
        for threads in THREADS:
            loop = partial(loop_rate, self.module, self.symbols, threads, self.seconds)
            jobs.append(("loop", f"1x{threads}", loop))
            for count in streams:
                key = f"{count}x{threads}"
                jobs.append(("torch", key, partial(self._torch_rate, count, threads)))
                jobs.append(("onnx_fp32", key, partial(self._rate, self.fp32[threads], count)))
                jobs.append(
                    (ENGINE, key, partial(engine_rate, self.engines[threads], count, self.seconds))
                )
        return jobs

    def _torch_rate(self, streams: int, threads: int) -> float:
        torch.set_num_threads(threads)
        return self._rate(self.torch, streams)

    def _rate(self, step: Step, streams: int) -> float:
        return step_rate(step, streams, self.symbols, self.seconds)[0]

    def round(self, streams: tuple[int, ...], bar: tqdm[Any]) -> None:
        """Measure every contestant once."""
        for name, key, measure in self.jobs(streams):
            bar.set_postfix_str(f"{name} {key}")
            self.samples[name][key].append(measure())
            bar.update()
        self.sampling.append(step_rate(self.int8[max(THREADS)], 64, self.symbols, self.seconds)[1])

    def medians(self) -> Rates:
        """Return the median characters a second of each contestant."""
        return {
            name: {key: median(values) for key, values in rates.items()}
            for name, rates in self.samples.items()
        }


def default_model() -> Path:
    """Return the folder of the last bundled version."""
    folders = sorted(path.parent for path in (ROOT / "data" / "models").glob("*/model.json"))
    if not folders:
        raise SystemExit("error: data/models holds no version; name one with --model")
    return folders[-1]


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, help="version folder; the last one in data/models by default"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short round, up to 64 streams, no plot"
    )
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "bench-engine.json")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "img" / "bench-engine.svg")
    return parser.parse_args()


def main() -> None:
    """Run the benchmark; print, save and plot the result."""
    arguments = parse_arguments()
    seconds, rounds = (0.2, 1) if arguments.quick else (0.8, 5)
    streams = STREAMS[:-1] if arguments.quick else STREAMS
    version = read_version(arguments.model or default_model())
    bench = Bench(version, seconds)
    with tqdm(total=rounds * len(bench.jobs(streams)), unit="run") as bar:
        for _ in range(rounds):
            bench.round(streams, bar)
    times = first_character_ms(bench.engines[max(THREADS)], 20 if arguments.quick else 200)
    for engine in bench.engines.values():
        engine.close()
    continuation = continuation_ms(bench.version, 5 if arguments.quick else 20)
    rss, idle = serving_process(version)
    rates = bench.medians()
    result = {
        **rates,
        "sampling_share": median(bench.sampling),
        "rss_mb": rss,
        "idle_cpu_percent": idle,
        "first_character_ms": {"p50": median(times), "p99": times[int(0.99 * (len(times) - 1))]},
        "continuation_ms": continuation,
        "limits": machine_limits(version.model, seconds),
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "model": version.title,
        "prompt_length": len(PROMPT),
        "rounds": rounds,
    }
    print(f"{version.title}; {result['machine']}; {result['date']}\n{report(rates, result)}")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if not arguments.quick:
        plot(rates, arguments.plot)


if __name__ == "__main__":
    main()
