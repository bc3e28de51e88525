"""Look up every pinned package among the known vulnerabilities, with pip-audit.

    python tools/audit.py            succeeds where the packages cannot be looked up, and says so
    python tools/audit.py --strict   fails then, for a build that must know

A vulnerability fails the audit unless tools/audit-exceptions.txt explains it. pip-audit asks PyPI;
PIP_AUDIT_VULNERABILITY_SERVICE and PIP_AUDIT_OSV_URL name another service.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
LISTS = ("constraints.txt", "requirements.txt", "requirements-train.txt", "requirements-dev.txt")
OPTIONS = "--strict --no-deps --disable-pip --progress-spinner=off --timeout=10 --desc=off"
EXCEPTIONS = HOME / "tools" / "audit-exceptions.txt"


def main() -> int:
    """Audit and return the exit code: 0 for nothing found, 1 for something, 3 for not checked."""
    command = [sys.executable, "-m", "pip_audit", *OPTIONS.split()]
    command += [f"--requirement={HOME / name}" for name in LISTS]
    for line in EXCEPTIONS.read_text().splitlines():
        identity, _, reason = (part.strip() for part in line.partition("#"))
        if identity and not reason:
            sys.exit(f"{EXCEPTIONS.name}: write after {identity} why it does not concern us")
        command += [f"--ignore-vuln={identity}"] if identity else []
    quiet = {**os.environ, "PIP_AUDIT_LOGLEVEL": "ERROR"}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
    last = (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
    if done.returncode == 0 or done.stdout:  # only a finished audit has a table of what it found
        print(last, done.stdout, sep="\n", end="")
        return done.returncode
    print(f"The packages were not checked for known vulnerabilities; pip-audit says: {last[:300]}")
    return 3 if sys.argv[1:] == ["--strict"] else 0


if __name__ == "__main__":
    sys.exit(main())
