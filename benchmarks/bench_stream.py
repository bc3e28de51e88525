"""What visitors get of the engine: real submits and WebSockets against the running product, on one machine.

    python -m benchmarks.bench_stream [--clients 1,16,64,128] [--length 500] [--rounds 5] [--quick]

It starts a copy of the product of its own (Redis, worker, housekeeping, beat, web; SQLite) and, in
alternating rounds,

    engine   N texts from the engine alone, two threads, in a process of its own while nobody visits
    stream   N visitors who submit at once, each with a session of its own, and watch their text to its end

The clients share the machine's cores with the product. Writes build/bench-stream.json and prints
the table of docs/performance.md. A first character counts from before the submit is sent to the
arrival of the frame that holds it; what is delivered, from there to the last frame of the last
client.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Self
from urllib.parse import urlencode

from tqdm import tqdm
from websockets.asyncio.client import connect

from benchmarks.machine import machine
from tests.environment import isolated_environment, manage
from tests.stack import EVERYTHING, HOST, Stack
from tests.visitor import Visitor

ROOT = Path(__file__).parent.parent
CLIENTS = (1, 16, 64, 128)
PROMPT = "It was a dark and stormy night"
NO_LIMITS = (
    "OWNER_SUBMITS_PER_MINUTE",
    "ADDRESS_SUBMITS_PER_MINUTE",
    "OWNER_MAX_SOCKETS",
    "ADDRESS_MAX_SOCKETS",
)
BETWEEN_ROUNDS = 1.5  # seconds: checkpoints, log and rows of the last round are done with

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
    for stream in [engine.submit(Request(sys.argv[5], Sampling(length=length, seed=seed, temperature=0.8))) for seed in range(clients)]:
        stream.wait()
    rate = clients * length / (time.perf_counter() - begin)
print(rate)
"""


@dataclass
class Watched:
    """What one client saw; moments are seconds of time.perf_counter()."""

    submitted: float = 0.0
    accepted: float = 0.0
    frames: list[tuple[float, int]] = field(default_factory=list)  # moment and characters
    ended: float = 0.0
    error: str = ""

    @property
    def first_character(self) -> float:
        return next(moment for moment, count in self.frames if count) - self.submitted

    def gaps(self) -> list[float]:
        """Return seconds between frames with characters."""
        moments = [moment for moment, count in self.frames if count]
        return [later - earlier for earlier, later in pairwise(moments)]


class Client:
    """A visitor with a session, without the cost of a whole HTTP library in the measured seconds."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        visitor = Visitor(stack.base_url)
        visitor.submit(length=1)  # makes the session
        self.cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.http.cookies)
        self.token = visitor.token

    async def submit(self, length: int) -> str:
        """Send the form and return the address of the socket."""
        body = urlencode({"prompt": PROMPT, "length": length, "temperature": 0.8}).encode()
        head = (
            f"POST /generations/ HTTP/1.1\r\nHost: {HOST}:{self.stack.port}\r\nOrigin: {self.stack.base_url}\r\n"
            f"Cookie: {self.cookies}\r\nX-CSRFToken: {self.token}\r\nAccept: application/json\r\nConnection: close\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection(HOST, self.stack.port)
        writer.write(head.encode() + body)
        answer = await reader.read()
        writer.close()
        status, _, content = answer.partition(b"\r\n\r\n")
        if b" 201 " not in status.splitlines()[0]:
            raise RuntimeError(f"the submit was answered {answer[:300]!r}")
        socket: str = json.loads(content[content.index(b"{") : content.rindex(b"}") + 1])["socket"]
        return socket

    async def watch(self, length: int) -> Watched:
        """Submit, open the socket, and read to the end."""
        seen = Watched(submitted=time.perf_counter())
        try:
            path = await self.submit(length)
            seen.accepted = time.perf_counter()
            address = self.stack.base_url.replace("http", "ws", 1) + path
            headers = {"Cookie": self.cookies}
            async with connect(
                address,
                origin=self.stack.base_url,
                additional_headers=headers,
                proxy=None,
                compression=None,  # type: ignore[arg-type]
            ) as socket:
                async for message in socket:
                    frame = json.loads(message)
                    seen.frames.append((time.perf_counter(), len(frame.get("text", ""))))
                    if frame["type"] == "end":
                        break
            seen.ended = time.perf_counter()
            if (got := sum(count for _, count in seen.frames)) != length:
                seen.error = f"{got} characters instead of {length}"
        except (
            Exception
        ) as error:  # counted and shown; one client's failure is no reason to lose the round
            seen.error = f"{type(error).__name__}: {error}"
        return seen


class Usage:
    """CPU seconds and memory of the product's processes while a round runs, children included."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._before = self._cpu()
        self._begin = time.perf_counter()

    def _cpu(self) -> dict[str, float]:
        return {
            name: sum(_cpu_seconds(pid) for pid in _group(self._stack.pid(name)))
            for name in EVERYTHING
        }

    def cores(self) -> dict[str, float]:
        """Return how many cores each process kept busy since the start."""
        seconds = time.perf_counter() - self._begin
        return {name: (cpu - self._before[name]) / seconds for name, cpu in self._cpu().items()}

    @staticmethod
    def memory(stack: Stack) -> dict[str, float]:
        """Return resident megabytes of each process."""
        return {
            name: sum(_resident_mb(pid) for pid in _group(stack.pid(name))) for name in EVERYTHING
        }


def _group(leader: int) -> list[int]:
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    return [pid for pid in pids if _stat(pid)[2:3] == [str(leader)]]


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the name: state, parent, group, …"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _resident_mb(pid: int) -> float:
    fields = _stat(pid)
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if fields else 0.0


class Bench:
    """One copy of the product, and what was measured by number of clients."""

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
        """Return `count` clients, made when they are first needed."""
        while len(self.clients) < count:
            self.clients.append(Client(self.stack))
        return self.clients[:count]

    def engine_alone(self, count: int) -> float:
        """Return the characters a second of the engine with as many texts of the same length."""
        folder = self.folder / "versions" / self.digest
        command = [
            sys.executable,
            "-c",
            ENGINE_ALONE,
            str(folder),
            self.digest,
            str(count),
            str(self.length),
            PROMPT,
        ]
        return float(
            subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
        )

    def round(self, count: int) -> tuple[list[Watched], dict[str, float]]:
        """Let `count` visitors submit at once, and return what they saw and the cores in use."""
        clients = self.visitors(count)
        time.sleep(BETWEEN_ROUNDS)
        usage = Usage(self.stack)

        async def all_at_once() -> list[Watched]:
            return await asyncio.gather(*(client.watch(self.length) for client in clients))

        return asyncio.run(all_at_once()), usage.cores()

    def measure(self, count: int, rounds: int, bar: tqdm[Any]) -> dict[str, Any]:
        """Return the figures of `count` clients."""
        alone, delivered, watched, cores = [], [], [], []
        self.round(count)  # warms up what a first visit loads
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
        "| clients | first character p50 / p95 / p99 | between frames p50 / p99 | delivered | engine alone | share | errors |",
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


def main() -> None:
    """Run the benchmark, print and save what came out."""
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
        help="rounds for each number; of one client ten times as many (5)",
    )
    parser.add_argument("--quick", action="store_true", help="one round each")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "bench-stream.json")
    arguments = parser.parse_args()
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
