"""The name of the machine in the results of a benchmark."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> str:
    """Return the number of cores, the CPU and those of its instruction sets that matter here."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = next(
        (line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")),
        platform.machine(),
    )
    flags = [flag for flag in ("avx2", "avx512_vnni", "avx_vnni") if flag in info]
    return f"{os.cpu_count()} cores, {name}, {' '.join(flags)}"
