"""Ends a process in time once it is told to stop, whatever it is doing.

Nothing of ours runs in a signal handler: a handler that takes a lock waits for ever when its own
thread holds it. Instead, Python notes the signal in a pipe, even while the main thread is inside a
library, and a thread reads the pipe.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
PATIENCE = 2.5  # seconds from the signal to the end
FAREWELL = 0.4  # seconds of these for `at_last`


def watch(at_once: Callable[[], None], at_last: Callable[[], None]) -> None:
    """Call `at_once` when this process is told to stop, and `at_last` before ending it by force.

    Call this in the main thread. Until something else handles the signals they end the process by
    themselves.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(
        target=_wait, args=(reading, at_once, at_last), name="stopping", daemon=True
    ).start()


def _wait(reading: int, at_once: Callable[[], None], at_last: Callable[[], None]) -> None:
    while os.read(reading, 1)[0] not in STOPS:
        pass
    force_at = time.monotonic() + PATIENCE - FAREWELL
    _for_at_most(PATIENCE - FAREWELL, at_once)
    time.sleep(max(0.0, force_at - time.monotonic()))
    _for_at_most(FAREWELL, at_last)
    os._exit(os.EX_OK)


def _for_at_most(seconds: float, work: Callable[[], None]) -> None:
    """Do work that a lock or the database may hold up."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
