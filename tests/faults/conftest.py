"""One running product for all rows of the fault table, the options, and the printed table."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import harness
from tests.faults.harness import NO_LIMITS, TWO_WORKERS, References, table, whole
from tests.stack import Stack

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """--faults=full repeats rows; --faults-seed repeats the random moments of a run."""
    parser.addoption(
        "--faults",
        choices=("short", "full"),
        default="short",
        help="each row once, or as often as it says",
    )
    parser.addoption(
        "--faults-seed", type=int, default=None, help="of the random moments; printed by each run"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Run the controls only in the full form."""
    return (
        True
        if collection_path.name == "test_controls.py" and config.getoption("--faults") == "short"
        else None
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow time for recovery."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(
                pytest.mark.timeout(1_800 if item.config.getoption("--faults") == "full" else 240)
            )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table."""
    lines = list(table())
    if len(lines) > 1:
        terminalreporter.section(
            f"faults, {config.getoption('--faults')} form, seed {config.stash[SEED]}"
        )
        for line in lines:
            terminalreporter.write_line(line)


SEED = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed once per run."""
    given = config.getoption("--faults-seed")
    config.stash[SEED] = random.randrange(10**6) if given is None else given
    harness.run.update(form=config.getoption("--faults"), seed=config.stash[SEED])


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether this is the full form."""
    return bool(pytestconfig.getoption("--faults") == "full")


@pytest.fixture
def chance(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> random.Random:
    """Random moments; the same seed and test give the same moments."""
    return random.Random(f"{pytestconfig.stash[SEED]} {request.node.name}")


@pytest.fixture(scope="session")
def running(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The product with two workers."""
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("faults") / "var"))
    with Stack(folder, NO_LIMITS) as stack:
        yield stack.start(*TWO_WORKERS)


@pytest.fixture(scope="session")
def references(running: Stack) -> References:
    """The texts that all others must equal."""
    return References(running)


@pytest.fixture
def both(running: Stack) -> Stack:
    """The product with two workers, everything running."""
    whole(running, *TWO_WORKERS)
    return running


@pytest.fixture
def one(running: Stack) -> Stack:
    """The product with one worker, everything running."""
    whole(running, *(name for name in TWO_WORKERS if name != "worker-2"))
    return running
