"""Asks pip-audit about every version that requirements/*.txt pin, for any Python: `make audit`.

Ends with 1 where a vulnerability is known or pip-audit failed. Says SKIPPED, and ends with 0, where the service was out
of reach, or knows none of the packages.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parent
# What pip-audit says where it reaches nobody: its own message, or the exception of requests that it lets through.
_OUT_OF_REACH = re.compile(
    r"Could not connect to|PyPI is not redirecting|"
    r"^requests\.exceptions\.(ConnectionError|ProxyError|ConnectTimeout|ReadTimeout)\b",
    re.M,
)


class OutOfReachError(Exception):
    """The service did not answer."""


class AuditFailedError(Exception):
    """pip-audit ended without a report, for another reason."""


@dataclass
class Findings:
    """Over all rounds: lines to print, and how many versions the service was asked about."""

    vulnerable: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    asked: int = 0

    def add(self, report: dict[str, Any]) -> None:
        for package in report["dependencies"]:
            self.asked += 1
            if "skip_reason" in package:
                self.unknown.append(package["name"])
            for entry in package.get("vulns", ()):
                fixed = ", ".join(entry["fix_versions"]) or "no version yet"
                self.vulnerable.append(f"{package['name']} {package['version']}: {entry['id']}, fixed in {fixed}")


def pinned() -> dict[str, list[str]]:
    """The versions of each package, over all files and markers."""
    versions: dict[str, set[str]] = defaultdict(set)
    for path in _FOLDER.glob("*.txt"):
        for name, version in re.findall(r"^([a-z0-9-]+)==([^\s;]+)", path.read_text(), re.M):
            versions[name].add(version)
    return {name: sorted(found) for name, found in sorted(versions.items())}


def rounds(versions: dict[str, list[str]]) -> Iterator[list[str]]:
    """All versions, for pip-audit takes one of each package at a time."""
    for turn in range(max(map(len, versions.values()))):
        yield [f"{name}=={found[turn]}" for name, found in versions.items() if turn < len(found)]


def audit(pins: list[str], folder: Path) -> dict[str, Any]:
    """pip-audit's report. ``pins`` name no package twice. Raises OutOfReachError or AuditFailedError."""
    asked, found = folder / "asked.txt", folder / "found.json"
    asked.write_text("\n".join(pins))
    found.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    command += ["--format", "json", "--output", str(found), "--requirement", str(asked)]
    done = subprocess.run(command, capture_output=True, text=True)
    # It ends with 1 where it found something, too.
    if found.exists():
        report: dict[str, Any] = json.loads(found.read_text())
        return report
    error = OutOfReachError if _OUT_OF_REACH.search(done.stderr) else AuditFailedError
    said = "\n  ".join(done.stderr.strip().splitlines()[-2:])
    raise error(said or f"pip-audit ended with {done.returncode}, and said nothing")


def main() -> int:
    versions = pinned()
    total = sum(map(len, versions.values()))
    found, stopped = Findings(), ""
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for pins in rounds(versions):
            try:
                found.add(audit(pins, Path(folder)))
            except (OutOfReachError, AuditFailedError) as error:
                failed = isinstance(error, AuditFailedError)
                what = "error: make audit: pip-audit failed" if failed else "SKIPPED: make audit: nobody could be asked"
                stopped = f"{what}, after {found.asked} of {total} pinned versions:\n  {error}"
                break
    if not stopped and len(found.unknown) == total:
        print(f"SKIPPED: make audit: the service knows none of {total} packages")
        return 0
    for line in [*found.vulnerable, *(f"not known to the service: {name}" for name in found.unknown)]:
        print(line)
    known = found.asked - len(found.unknown)
    print(f"{known} of {total} pinned versions asked about: {len(found.vulnerable)} known vulnerabilities")
    if stopped:
        print(stopped)
    return 1 if found.vulnerable or failed else 0


if __name__ == "__main__":
    sys.exit(main())
