"""What all rings share: running copies of the product, and the rule that on CI nothing is skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stack import EVERYTHING, Stack, isolated_environment, manage

ON_CI = os.environ.get("CI", "").lower() in {"1", "true"}
skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember skips; an expected failure also counts as skipped for pytest, but is none."""
    if report.skipped and not hasattr(report, "wasxfail"):
        skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember modules that skip themselves."""
    if report.skipped:
        skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A skipped test fails the run on CI: what does not run there is not tested anywhere."""
    if ON_CI and skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why a run without failures fails."""
    if ON_CI and skipped:
        terminalreporter.write_line(
            f"On CI nothing may be skipped; skipped: {', '.join(skipped)}", red=True
        )


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder as `prestart` leaves it, to be copied."""
    folder = tmp_path_factory.mktemp("prepared")
    manage(isolated_environment(folder), "prestart")
    return folder


@pytest.fixture
def data_dir(prepared: Path, tmp_path: Path) -> Path:
    """A state folder of the test's own."""
    return Path(shutil.copytree(prepared, tmp_path / "var"))


@pytest.fixture
def make_stack(data_dir: Path) -> Iterator[Callable[..., Stack]]:
    """A function that starts processes of a copy of the test's own: make_stack("redis", "web", PORT="…")."""
    stacks: list[Stack] = []

    def make(*names: str, **settings: str) -> Stack:
        stacks.append(Stack(data_dir, settings))
        return stacks[-1].start(*names)

    yield make
    for stack in stacks:
        stack.close()


@pytest.fixture(scope="session")
def stack(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole product, shared by the tests that disturb nobody."""
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("shared") / "var"))
    with Stack(folder) as running:
        yield running.start(*EVERYTHING)
