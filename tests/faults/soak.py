"""Steady load and random faults for some minutes.

    python -m tests.faults.soak --minutes 10 [--seed N] [--visitors N] [--faults none]

Every text is compared with its reference. The report has the memory and open files of each process.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from tqdm import tqdm

from tests.environment import isolated_environment, manage
from tests.faults.chaos import Chaos
from tests.faults.gauges import Gauges
from tests.faults.harness import (
    LENGTH,
    NO_LIMITS,
    SEEDS,
    TWO_WORKERS,
    Load,
    References,
    Result,
    asked,
    in_background,
    run,
    whole,
)
from tests.stack import Stack
from tests.visitor import Visitor

PATIENCE = 180.0  # seconds after which a text counts as lost
SHORTEST = 200  # characters
CANCELLED = 0.1  # of all texts
THINKING = 2.0  # seconds at most between two texts of a visitor
SAMPLE_EVERY = 3.0  # seconds
PROBLEMS_KEPT = 20


class Soak:
    """Visitors who write one text after another, and the results of all texts."""

    def __init__(self, stack: Stack, seed: int, seconds: float) -> None:
        self.stack = stack
        self.seed = seed
        self.until = time.monotonic() + seconds
        self.references = References(stack)
        self.total = Result("soak", 0, 0, 0, 0, 0, 0.0, None)
        self.attempts: Counter[int] = Counter()
        self.answers: Counter[str] = Counter()  # to submits that were not accepted

    async def visit(self, number: int) -> None:
        """Write texts; some are cancelled before they end."""
        visitor, chance = self.stack.visitor(), random.Random(f"{self.seed} {number}")
        while time.monotonic() < self.until:
            length, seed = chance.randint(SHORTEST, LENGTH), chance.choice(SEEDS)
            stopped_at = chance.randint(0, length) if chance.random() < CANCELLED else None
            async with Load(
                self.stack, self.references, count=0, length=length, visitor=visitor
            ) as load:
                page = load.watch(await self.submit(visitor, length, seed), seed)
                if stopped_at is not None and await page.reaches(stopped_at, PATIENCE):
                    await page.cancel()
                await load.finish(PATIENCE)
                result = await in_background(lambda: load.result("soak"))
                self.add(result, {row["attempt"] for row in load.rows().values()})
            await asyncio.sleep(chance.uniform(0, THINKING))

    async def submit(self, visitor: Visitor, length: int, seed: int) -> str:
        """Send a form until it is accepted, and return the id.

        It is the same form each time, as from a page, so no text is created twice.
        """
        form = asked(seed, length, client_key=uuid.uuid4().hex)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                answer = await in_background(lambda: visitor.ask(**form))
            except requests.RequestException as error:
                self.answers[type(error).__name__] += 1
                await asyncio.sleep(random.uniform(0, 1))
                continue
            if answer.status_code == 201:
                return str(answer.json()["id"])
            self.answers[str(answer.status_code)] += 1
            await asyncio.sleep(
                float(answer.headers["Retry-After"])
            )  # whoever refuses says until when
        raise AssertionError(f"no submit was accepted within {PATIENCE:.0f} s: {self.answers}")

    def add(self, result: Result, attempts: set[int]) -> None:
        """Count the result of one text."""
        for name in ("accepted", "done", "cancelled", "lost", "wrong"):
            setattr(self.total, name, getattr(self.total, name) + getattr(result, name))
        self.total.longest_stall = max(self.total.longest_stall, result.longest_stall)
        self.total.problems = (self.total.problems + result.problems)[:PROBLEMS_KEPT]
        self.attempts.update(attempts)

    async def watch(self, gauges: Gauges, chaos: Chaos) -> None:
        """Sample the processes and print the progress until cancelled."""
        began, shown = time.monotonic(), 0
        with tqdm(total=round(self.until - began), unit="s") as bar:
            while True:
                await in_background(gauges.sample)
                passed = min(bar.total, round(time.monotonic() - began))
                bar.update(passed - shown)
                shown = passed
                total = self.total
                faults, ended = sum(chaos.counts.values()), total.done + total.cancelled
                bar.set_postfix(ended=ended, lost=total.lost, wrong=total.wrong, faults=faults)
                await asyncio.sleep(SAMPLE_EVERY)

    def check_rows(self) -> None:
        """Check that the database has exactly the visitors' texts and that all have ended."""
        states = {
            row["state"]: row["n"]
            for row in self.stack.rows(
                "SELECT state, count(*) AS n FROM generator_generation GROUP BY state"
            )
        }
        ended = {"done": self.total.done, "cancelled": self.total.cancelled}
        if not self.total.lost + self.total.wrong and states != {
            state: count for state, count in ended.items() if count
        }:
            self.total.wrong += 1
            self.total.problems.append(f"the database has {states}, the visitors know of {ended}")


async def soak(stack: Stack, options: argparse.Namespace) -> bool:
    """Run it, print and record the result; return whether it was good."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2 * options.visitors + 8))
    for seed in SEEDS:
        References(stack).text(seed)
    work = Soak(stack, options.seed, options.minutes * 60)
    chaos, gauges = Chaos(stack, random.Random(options.seed)), Gauges(stack, TWO_WORKERS)
    watching = asyncio.create_task(work.watch(gauges, chaos))
    async with asyncio.TaskGroup() as group:
        for number in range(options.visitors):
            group.create_task(work.visit(number))
        if options.faults == "random":
            group.create_task(chaos.run(work.until))
    await in_background(lambda: whole(stack, *TWO_WORKERS))
    await asyncio.sleep(SAMPLE_EVERY * 2)  # for a last sample without load
    watching.cancel()
    work.check_rows()
    print("\n".join(gauges.lines()))
    work.total.name = "soak" if options.faults == "random" else "soak without faults"
    work.total.notes = {
        "minutes": options.minutes,
        "visitors": options.visitors,
        "faults": dict(chaos.counts),
        "attempts": {str(attempt): count for attempt, count in sorted(work.attempts.items())},
        "answers": dict(work.answers),
        "memory": gauges.lines(),
        "samples": gauges.series(),
    }
    total = work.total
    print(
        f"seed {options.seed}: {total.accepted} accepted, {total.done} done,",
        f"{total.cancelled} cancelled, {total.lost} lost, {total.wrong} wrong;",
        f"longest stall {total.longest_stall:.1f} s; attempts {total.notes['attempts']}",
    )
    print(f"faults {total.notes['faults']}; other answers to submits {total.notes['answers']}")
    print(*total.problems, sep="\n")
    run.update(form="soak", seed=options.seed)
    total.record()
    return total.good


def main() -> int:
    """Return 0 if no text was lost or wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--visitors", type=int, default=16)
    parser.add_argument("--faults", choices=("random", "none"), default="random")
    options = parser.parse_args()
    print(
        f"seed {options.seed}, {options.visitors} visitors, {options.minutes} minutes,",
        f"faults: {options.faults}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="charrnn-soak-") as folder:
        manage(isolated_environment(Path(folder)), "prestart")
        with Stack(Path(folder), NO_LIMITS) as stack:
            stack.start(*TWO_WORKERS)
            return 0 if asyncio.run(soak(stack, options)) else 1


if __name__ == "__main__":
    sys.exit(main())
