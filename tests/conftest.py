"""Shared by all rings: running copies of the product, and a failure when CI skips a test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.environment import isolated_environment, manage
from tests.stack import EVERYTHING, Stack

ON_CI = os.environ.get("CI", "").lower() in {"1", "true"}
skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Record skipped tests. Expected failures, which pytest reports alike, do not count."""
    if report.skipped and not hasattr(report, "wasxfail"):
        skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Record modules that skip themselves."""
    if report.skipped:
        skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run on CI if a test was skipped: no other run would execute it."""
    if ON_CI and skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Explain a run that fails without a failed test."""
    if ON_CI and skipped:
        terminalreporter.write_line(
            f"Tests must not be skipped on CI. Skipped: {', '.join(skipped)}", red=True
        )


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder as `prestart` leaves it; tests copy it."""
    folder = tmp_path_factory.mktemp("prepared")
    manage(isolated_environment(folder), "prestart")
    return folder


@pytest.fixture
def data_dir(prepared: Path, tmp_path: Path) -> Path:
    """The test's own copy of the prepared state folder."""
    return Path(shutil.copytree(prepared, tmp_path / "var"))


@pytest.fixture
def make_stack(data_dir: Path) -> Iterator[Callable[..., Stack]]:
    """A function that starts processes of the test's own copy: make_stack("web", PORT="…")."""
    stacks: list[Stack] = []

    def make(*names: str, **settings: str) -> Stack:
        stacks.append(Stack(data_dir, settings))
        return stacks[-1].start(*names)

    yield make
    for stack in stacks:
        stack.close()


@pytest.fixture(scope="session")
def stack(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole product, shared by the tests that do not disturb each other."""
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("shared") / "var"))
    with Stack(folder) as running:
        yield running.start(*EVERYTHING)
