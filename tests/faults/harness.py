"""Load on the running product, its results, and the texts that it must produce.

A row of the fault table is one `Load` with a fault during it; `Load.result` returns the row.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from ml.engine.offline import generate
from ml.engine.stream import Request
from ml.sampling import Sampling
from ml.versions.load import load_step
from ml.versions.version import read_version
from tests.faults.watcher import Watcher
from tests.stack import EVERYTHING, Stack, wait_until
from tests.visitor import Visitor

BUILD = Path(__file__).resolve().parents[2] / "build"
RESULTS = BUILD / "faults.json"
REFERENCES = BUILD / "faults-reference.json"
PROMPT = "It was a dark"
TEMPERATURE = 0.8
SEEDS = (1, 2, 3, 4)  # few, because a reference takes seconds
COUNT = 16  # active generations
LENGTH = 8_000  # with 16 active, about four seconds of writing
LONGEST = 20_000
TWO_WORKERS = (*EVERYTHING, "worker-2")
NO_LIMITS = {
    "OWNER_MAX_ACTIVE": "200",
    "OWNER_SUBMITS_PER_MINUTE": "100000",
    "ADDRESS_SUBMITS_PER_MINUTE": "100000",
}
NO_LIMITS |= {
    "OWNER_MAX_SOCKETS": "10000",
    "ADDRESS_MAX_SOCKETS": "10000",
    "GENERATION_MAX_ATTEMPTS": "1000",
}
NO_LIMITS |= {"ENGINE_THREADS": "1"}  # two workers share the two cores that CI machines have


@dataclass
class Result:
    """One row of build/faults.json. Times are in seconds."""

    name: str
    accepted: int
    done: int
    lost: int  # accepted and not ended, or ended as failed
    wrong: int  # another text than the reference, or a broken promise on the way
    cancelled: int
    longest_stall: float
    recovery: float | None  # from the end of the fault to the end of the last text
    problems: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return self.accepted > 0 and not (self.lost or self.wrong)

    def save(self) -> None:
        """Record the row, and fail its test if a text was lost or wrong."""
        self.record()
        assert self.good, self

    def record(self) -> None:
        """Write the row into build/faults.json; it replaces that of an earlier run."""
        recorded[self.name] = self
        BUILD.mkdir(exist_ok=True)
        # The lock keeps the rows of two runs at the same time.
        with RESULTS.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            saved = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            saved[self.name] = (
                asdict(self) | run | {"at": datetime.now(UTC).isoformat(timespec="seconds")}
            )
            RESULTS.write_text(json.dumps(saved, indent=1) + "\n")


recorded: dict[str, Result] = {}
run: dict[str, Any] = {}  # common to all rows of this run: the form, the seed


def asked(seed: int, length: int, **more: Any) -> dict[str, Any]:
    """Return the fields of a submit whose text the references have."""
    return {"prompt": PROMPT, "temperature": TEMPERATURE, "length": length, "seed": seed, **more}


class References:
    """The texts of the live version for `SEEDS`, each generated alone; cached in build/."""

    def __init__(self, stack: Stack) -> None:
        self._digest = stack.rows("SELECT digest FROM generator_modelversion WHERE is_live")[0][
            "digest"
        ]
        self._folder = stack.data_dir / "versions" / self._digest
        self._texts: dict[str, str] = (
            json.loads(REFERENCES.read_text()) if REFERENCES.exists() else {}
        )

    def text(self, seed: int, length: int = LONGEST) -> str:
        """Return the first `length` characters of the text of a seed."""
        key = f"{self._digest} {PROMPT} {TEMPERATURE} {seed}"
        if len(self._texts.get(key, "")) < length:
            version = read_version(self._folder)
            request = Request(
                PROMPT, Sampling(length=max(length, LENGTH), seed=seed, temperature=TEMPERATURE)
            )
            self._texts[key] = generate(
                load_step(version, rows=1, threads=1), version.vocabulary, request
            ).text
            BUILD.mkdir(exist_ok=True)
            REFERENCES.write_text(json.dumps(self._texts))
        return self._texts[key][:length]


class Load:
    """Generations of one visitor, each watched by a page that reconnects. Use with `async with`."""

    def __init__(
        self,
        stack: Stack,
        references: References,
        *,
        count: int = COUNT,
        length: int = LENGTH,
        visitor: Visitor | None = None,
        seeds: tuple[int, ...] = SEEDS,
    ) -> None:
        self.stack = stack
        self.count, self.length, self.seeds = count, length, seeds
        self.visitor = visitor or stack.visitor()
        self.watchers: list[Watcher] = []
        self.accepted: dict[str, int] = {}  # id → seed
        self._references = references
        self._tasks: list[asyncio.Task[None]] = []
        self._fault_ended = 0.0

    async def __aenter__(self) -> Load:
        for number in range(self.count):
            await self.submit(self.seeds[number % len(self.seeds)])
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def submit(self, seed: int, **parameters: Any) -> Watcher:
        """Submit another generation and watch it."""
        form = asked(seed, self.length, **parameters)
        accepted = await asyncio.to_thread(lambda: self.visitor.submit(**form))
        return self.watch(accepted["id"], seed)

    def watch(self, generation_id: str, seed: int) -> Watcher:
        """Watch an accepted generation."""
        watcher = Watcher(self.visitor, generation_id)
        self.accepted[generation_id] = seed
        self.watchers.append(watcher)
        self._tasks.append(asyncio.create_task(watcher.run()))
        return watcher

    async def under_way(self, characters: int = 1, ended: int = 0) -> None:
        """Wait until every page shows some characters; at most `ended` texts may have ended."""
        async with asyncio.timeout(60):
            for watcher in self.watchers:
                while len(watcher.text) < characters:  # noqa: ASYNC110 (pages have no event)
                    await asyncio.sleep(0.01)
        over = sum(watcher.end is not None for watcher in self.watchers)
        assert over <= ended, f"{over} of {len(self.watchers)} had ended before the fault came"

    def fault_ended(self) -> None:
        """Record that the fault has ended; recovery is measured from here."""
        self._fault_ended = time.monotonic()

    async def finish(self, patience: float = 90.0) -> None:
        """Wait until every page has ended, or for `patience` seconds."""
        await asyncio.wait(self._tasks, timeout=patience)

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the rows of this load's generations by id."""
        wanted = [UUID(generation_id).hex for generation_id in self.accepted]
        marks = ", ".join("?" * len(wanted))
        columns = "id, state, text, attempt, failures, worker_id, error"
        query = f"SELECT {columns} FROM generator_generation WHERE id IN ({marks})"
        return {str(UUID(row["id"])): row for row in self.stack.rows(query, *wanted)}

    def result(self, name: str, **notes: Any) -> Result:
        """Compare all texts, on pages and in rows, with the references."""
        rows = self.rows()
        problems: list[str] = []
        counts = {"done": 0, "cancelled": 0, "lost": 0, "wrong": 0}
        for watcher in self.watchers:
            kind, problem = self._judge(watcher, rows[watcher.id])
            counts[kind] += 1
            problems += [f"{watcher.id}: {problem}"] if problem else []
        last = max(
            (watcher.arrivals[-1][0] for watcher in self.watchers if watcher.arrivals), default=0.0
        )
        recovery = max(0.0, last - self._fault_ended) if self._fault_ended else None
        stall = max((watcher.stall() for watcher in self.watchers), default=0.0)
        return Result(
            name,
            len(self.accepted),
            **counts,
            longest_stall=stall,
            recovery=recovery,
            problems=problems,
            notes=notes,
        )

    def _judge(self, watcher: Watcher, row: dict[str, Any]) -> tuple[str, str]:
        expected = self._references.text(self.accepted[watcher.id], self.length)
        if watcher.errors:
            return "wrong", "; ".join(watcher.errors)
        if not expected.startswith(watcher.text) or not expected.startswith(row["text"]):
            return "wrong", "another text than the reference"
        if watcher.end is None or row["state"] == "failed":
            where = f"after {len(row['text'])} characters, {len(watcher.text)} on the page"
            return "lost", f"{row['state']} {row['error']} {where}"
        if row["text"] != watcher.text or watcher.end["state"] != row["state"]:
            return "wrong", "the row differs from what the page received"
        if row["state"] == "done" and row["text"] != expected:
            return "wrong", "done before its end"
        return row["state"], ""


def whole(stack: Stack, *names: str) -> None:
    """Make exactly these processes run, and wait until all texts have ended."""
    for name in TWO_WORKERS:
        if stack.is_running(name) and name not in names:
            stack.stop(name)
    missing = [name for name in names if not stack.is_running(name)]
    if missing:
        stack.start(*missing)
    under_way = "SELECT 1 FROM generator_generation WHERE state IN ('queued', 'running')"
    wait_until(lambda: not stack.rows(under_way), "all texts have ended", 60)


def in_background(work: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
    """Return blocking work as a coroutine that runs in a thread, while the pages continue."""
    return asyncio.to_thread(work)


def table() -> Iterator[str]:
    """Yield the recorded rows as lines."""
    yield f"{'row':16}accepted  done  cancelled  lost  wrong  stall s  recovery s  notes"
    for name in sorted(recorded, key=lambda name: (len(name.split()[0]), name)):
        row = recorded[name]
        recovery = "-" if row.recovery is None else f"{row.recovery:.1f}"
        counts = f"{row.accepted:8}{row.done:6}{row.cancelled:11}{row.lost:6}{row.wrong:7}"
        counts += f"{row.longest_stall:9.1f}{recovery:>12}"
        yield f"{name:16}{counts}  " + ", ".join(
            f"{key} {value}" for key, value in row.notes.items()
        )
