"""Looks up every pinned package among the known vulnerabilities. A find fails, unless audit-exceptions.txt explains it.

    python tools/audit.py            where the vulnerability service cannot be asked, says so and succeeds
    python tools/audit.py --strict   fails then, too: for a build that must know

pip-audit asks PyPI; PIP_AUDIT_VULNERABILITY_SERVICE and PIP_AUDIT_OSV_URL name another service. It
skips a package that it cannot look up and still ends well, so what was skipped is counted here as
not checked.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent.parent
LISTS = ("constraints.txt", "requirements.txt", "requirements-train.txt", "requirements-dev.txt")
EXCEPTIONS = HOME / "tools" / "audit-exceptions.txt"
PIN = re.compile(r"^(?P<name>[\w.-]+)(\[[\w,-]+\])?==(?P<version>[^\s;#]+)", re.MULTILINE)
FINE, FOUND, MISUSED, NOT_CHECKED = 0, 1, 2, 3


class NotChecked(Exception):
    """The service gave no answer; the message says why."""


def pins() -> list[str]:
    """Return every package of the lists at its pinned version, once."""
    found = {}
    for name in LISTS:
        for pin in PIN.finditer((HOME / name).read_text()):
            found[re.sub(r"[-_.]+", "-", pin["name"]).lower()] = pin["version"]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def explained(file: Path) -> dict[str, str]:
    """Return the reason of each excepted vulnerability, by its id. Raises ValueError for one without a reason."""
    lines = [line.strip() for line in file.read_text().splitlines()]
    reasons = {}
    for line in lines:
        if line and not line.startswith("#"):
            identity, _, reason = line.partition(" ")
            if len(reason.split()) < 4:
                raise ValueError(
                    f"{file.name}: {identity} needs a sentence that says why it does not concern us"
                )
            reasons[identity] = reason.strip()
    return reasons


def look_up(requirements: list[str]) -> list[dict[str, Any]]:
    """Return what pip-audit found for each package. Raises NotChecked when it could ask nobody."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(requirements))
        file.flush()
        options = [
            "--requirement",
            file.name,
            "--no-deps",
            "--disable-pip",
            "--format=json",
            "--desc=off",
            "--aliases=on",
        ]
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            *options,
            "--progress-spinner=off",
            "--timeout=10",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise NotChecked(
            (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1][:300]
        ) from None
    if all("skip_reason" in package for package in packages):
        raise NotChecked(packages[0]["skip_reason"])
    return packages


def report(packages: list[dict[str, Any]], reasons: dict[str, str]) -> int:
    """Print what was found and return how many vulnerabilities nobody has explained."""
    open_, used = 0, set()
    for package in packages:
        for vulnerability in package.get("vulns", []):
            identities = [vulnerability["id"], *vulnerability.get("aliases", [])]
            reason = next(
                (reasons[identity] for identity in identities if identity in reasons), None
            )
            used |= {*identities}
            open_ += reason is None
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version"
            print(
                f"{package['name']} {package['version']}: {' = '.join(identities)}, repaired in {fixed}"
            )
            print(f"    {'accepted: ' + reason if reason else 'NOT EXPLAINED'}")
    for identity in sorted(set(reasons) - used):
        print(f"{identity} was not found any more: take it out of {EXCEPTIONS.name}")
    return open_


def main(arguments: list[str]) -> int:
    """Audit, and return the exit code."""
    strict = arguments == ["--strict"]
    if arguments and not strict:
        print(__doc__, file=sys.stderr)
        return MISUSED
    try:
        reasons = explained(EXCEPTIONS)
        wanted = pins()
        look_up(
            [pin for pin in wanted if pin.startswith("django==")]
        )  # one question first: is anybody there?
        packages = look_up(wanted)
    except ValueError as error:
        print(error, file=sys.stderr)
        return MISUSED
    except NotChecked as error:
        print(
            f"The packages could not be checked: no network to the vulnerability service, or it does not know them.\n    {error}"
        )
        return NOT_CHECKED if strict else FINE
    unexplained = report(packages, reasons)
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    print(
        f"{len(packages) - len(unknown)} packages checked, {unexplained} vulnerabilities not explained",
        end="",
    )
    print(f"; could not be checked: {', '.join(unknown)}" if unknown else "")
    if unexplained:
        return FOUND
    return NOT_CHECKED if strict and unknown else FINE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
