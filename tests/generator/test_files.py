"""Locks around fetching a version's files, and the sentence taken from a command's output."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from generator.models import ModelVersion
from generator.versions.files import NEVER, _alone, _sentence, version_folder
from ml.versions.errors import RegistryError, VersionRefused

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "ab")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_no_more_than_the_slots_hold_at_once(tmp_path: Path) -> None:
    slots = [tmp_path / f"{number}.lock" for number in range(2)]
    inside, most, counting = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with _alone(slots, NEVER):
            with counting:
                inside += 1
                most = max(most, inside)
            time.sleep(0.1)
            with counting:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


def test_a_lock_of_another_process_is_waited_for_until_it_ends_or_we_do(tmp_path: Path) -> None:
    lock, stop = tmp_path / "x.lock", threading.Event()
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdin=-1, stdout=-1) as other:
        assert other.stdout
        other.stdout.readline()
        threading.Timer(0.2, stop.set).start()
        with pytest.raises(RegistryError, match="ending"), _alone([lock], stop):
            pass
        threading.Timer(0.2, other.kill).start()
        with _alone([lock], NEVER):
            assert other.wait() != 0


def test_only_a_sentence_of_ours_is_taken_from_what_a_command_printed() -> None:
    assert (
        _sentence("WARNING x\nerror: version 9 is not in the registry\n")
        == "version 9 is not in the registry"
    )
    assert (
        _sentence("Traceback (most recent call last):\n  File /srv/x.py\nValueError: error: x")
        == ""
    )
    assert _sentence("") == ""


def test_a_version_without_a_digest_has_no_folder() -> None:
    with pytest.raises(VersionRefused, match="it has no tag"):
        version_folder(
            ModelVersion(name="charrnn", version=4, digest="", problem="it has no tag 'digest'")
        )
