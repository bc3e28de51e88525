"""Measure what visitors get of the engine: submits and WebSockets against the running product.

    python -m benchmarks.bench_stream [--clients 1,16,64,128] [--length 500] [--rounds 5] [--quick]

It starts its own copy of the product (Redis, worker, housekeeping, beat, web; SQLite) and runs in
alternating rounds

    engine   N texts from the engine alone, two threads, in its own process, without visitors
    stream   N visitors, each with a session, who submit at once and watch their text to its end

The clients share the machine's cores with the product. Writes build/bench-stream.json and prints
the table of docs/performance.md. The time to the first character starts before the submit is sent
and ends when the frame with the character arrives. The delivered rate counts from that start to
the last frame of the last client.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Self

from tqdm import tqdm

from benchmarks.client import PROMPT, Client, Watched
from benchmarks.machine import machine
from benchmarks.usage import Usage
from tests.environment import isolated_environment, manage
from tests.stack import EVERYTHING, Stack

ROOT = Path(__file__).parent.parent
CLIENTS = (1, 16, 64, 128)
NO_LIMITS = (
    "OWNER_SUBMITS_PER_MINUTE",
    "ADDRESS_SUBMITS_PER_MINUTE",
    "OWNER_MAX_SOCKETS",
    "ADDRESS_MAX_SOCKETS",
)
BETWEEN_ROUNDS = 1.5  # seconds, until the last round's log and rows are written

ENGINE_ALONE = """
import sys, time
from pathlib import Path
from ml.engine.engine import Request
from ml.sampling import Sampling
from ml.versions.load import load_engine
clients, length = int(sys.argv[3]), int(sys.argv[4])
engine = load_engine(Path(sys.argv[1]), sys.argv[2], max_streams=64, threads=2, step="onnx")
for seconds in range(3):  # the first warms up
    begin = time.perf_counter()
    drawn = [Sampling(length=length, seed=seed, temperature=0.8) for seed in range(clients)]
    requests = [Request(sys.argv[5], sampling) for sampling in drawn]
    for stream in [engine.submit(request) for request in requests]:
        stream.wait()
    rate = clients * length / (time.perf_counter() - begin)
print(rate)
"""


class Bench:
    """A copy of the product, and its clients."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.folder = Path(tempfile.mkdtemp(prefix="bench-stream-"))
        manage(isolated_environment(self.folder), "prestart")
        limits = {"OWNER_MAX_ACTIVE": "64", "QUEUE_MAX_LENGTH": "5000"} | dict.fromkeys(
            NO_LIMITS, "1000000"
        )
        self.stack = Stack(self.folder, limits).start(*EVERYTHING)
        self.digest = self.stack.rows("SELECT digest FROM generator_modelversion WHERE is_live")[0][
            "digest"
        ]
        self.clients: list[Client] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()
        shutil.rmtree(self.folder)

    def visitors(self, count: int) -> list[Client]:
        """Return `count` clients; those that do not exist yet are made."""
        while len(self.clients) < count:
            self.clients.append(Client(self.stack))
        return self.clients[:count]

    def engine_alone(self, count: int) -> float:
        """Return characters a second of the engine alone, with `count` texts of the same length."""
        folder = self.folder / "versions" / self.digest
        arguments = [str(folder), self.digest, str(count), str(self.length), PROMPT]
        command = [sys.executable, "-c", ENGINE_ALONE, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        return float(done.stdout)

    def round(self, count: int) -> tuple[list[Watched], dict[str, float]]:
        """Let `count` clients submit at once; return what they saw and the cores in use."""
        clients = self.visitors(count)
        time.sleep(BETWEEN_ROUNDS)
        usage = Usage(self.stack)

        async def all_at_once() -> list[Watched]:
            return await asyncio.gather(*(client.watch(self.length) for client in clients))

        return asyncio.run(all_at_once()), usage.cores()

    def measure(self, count: int, rounds: int, bar: tqdm[Any]) -> dict[str, Any]:
        """Return the results of `count` clients."""
        alone, delivered, watched, cores = [], [], [], []
        self.round(count)  # a warm-up
        for _ in range(rounds):
            alone.append(self.engine_alone(count))
            seen, busy = self.round(count)
            good = [client for client in seen if not client.error]
            begin = min(client.submitted for client in seen)
            if good:
                last = max(client.frames[-1][0] for client in good)
                delivered.append(self.length * len(good) / (last - begin))
            watched += seen
            cores.append(busy)
            bar.update()
        good = [client for client in watched if not client.error]
        return {
            "first_character_ms": _percentiles([1000 * client.first_character for client in good]),
            "accepted_ms": _percentiles(
                [1000 * (client.accepted - client.submitted) for client in good]
            ),
            "gap_ms": _percentiles([1000 * gap for client in good for gap in client.gaps()]),
            "delivered_char_per_s": median(delivered) if delivered else 0.0,
            "engine_alone_char_per_s": median(alone),
            "share_of_engine": median(delivered) / median(alone) if delivered else 0.0,
            "errors": len(watched) - len(good),
            "first_error": next((client.error for client in watched if client.error), ""),
            "rounds": rounds,
            "cores": {name: median(busy[name] for busy in cores) for name in EVERYTHING},
            "memory_mb": Usage.memory(self.stack),
        }


def _percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values) or [float("nan")]
    return {
        f"p{share}": ordered[min(len(ordered) - 1, len(ordered) * share // 100)]
        for share in (50, 95, 99)
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown table of docs/performance.md."""
    lines = [
        "| clients | first character p50 / p95 / p99 | between frames p50 / p99 "
        "| delivered | engine alone | share | errors |",
        "|---|---|---|---|---|---|---|",
    ]
    for count, result in results.items():
        first, gap = result["first_character_ms"], result["gap_ms"]
        cells = (
            count,
            f"{first['p50']:.0f} / {first['p95']:.0f} / {first['p99']:.0f} ms",
            f"{gap['p50']:.0f} / {gap['p99']:.0f} ms",
            f"{result['delivered_char_per_s']:,.0f} char/s",
            f"{result['engine_alone_char_per_s']:,.0f} char/s",
            f"{100 * result['share_of_engine']:.0f} %",
            result["errors"],
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += [
        "",
        "| clients | " + " | ".join(f"{name}: cores, MB" for name in EVERYTHING) + " |",
        "|---" * 6 + "|",
    ]
    for count, result in results.items():
        cells = (
            f"{result['cores'][name]:.2f}, {result['memory_mb'][name]:.0f}" for name in EVERYTHING
        )
        lines.append(f"| {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--clients", default=",".join(map(str, CLIENTS)), help="numbers of clients, with commas"
    )
    parser.add_argument("--length", type=int, default=500, help="characters of each text (500)")
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        help="rounds for each number of clients; ten times as many for one client (5)",
    )
    parser.add_argument("--quick", action="store_true", help="one round each")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "bench-stream.json")
    return parser.parse_args()


def main() -> None:
    """Run the benchmark; print and save the result."""
    arguments = parse_arguments()
    counts = [int(count) for count in arguments.clients.split(",")]
    rounds = {
        count: 1 if arguments.quick else arguments.rounds * (10 if count == 1 else 1)
        for count in counts
    }
    results: dict[str, dict[str, Any]] = {}
    with Bench(arguments.length) as bench, tqdm(total=sum(rounds.values()), unit="round") as bar:
        for count in counts:
            bar.set_postfix_str(f"{count} clients")
            results[str(count)] = bench.measure(count, rounds[count], bar)
    date = datetime.now(UTC).date().isoformat()
    document = {"clients": results, "length": arguments.length, "machine": machine(), "date": date}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    print(
        f"{document['machine']}; texts of {arguments.length} characters; {date}\n\n{table(results)}"
    )
    if problem := next(
        (result["first_error"] for result in results.values() if result["errors"]), ""
    ):
        print(f"\nfirst error: {problem}")


if __name__ == "__main__":
    main()
