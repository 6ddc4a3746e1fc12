"""Asks pip-audit about every version that requirements/*.txt pin, for any Python: `make audit`.

Ends with 1 where a vulnerability is known; says SKIPPED, and ends with 0, where nobody could be asked.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


def pinned() -> dict[str, list[str]]:
    """The versions of each package, over all files and markers."""
    versions: dict[str, set[str]] = defaultdict(set)
    for path in _FOLDER.glob("*.txt"):
        for name, version in re.findall(r"^([a-z0-9-]+)==([^\s;]+)", path.read_text(), re.M):
            versions[name].add(version)
    return {name: sorted(found) for name, found in sorted(versions.items())}


def audit(pins: list[str], folder: Path) -> tuple[dict | None, str]:
    """What pip-audit found, None where it could not ask, and what it said. ``pins`` name no package twice."""
    asked, found = folder / "asked.txt", folder / "found.json"
    asked.write_text("\n".join(pins))
    found.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    command += ["--format", "json", "--output", str(found), "--requirement", str(asked)]
    done = subprocess.run(command, capture_output=True, text=True)
    return (json.loads(found.read_text()) if found.exists() else None), done.stderr.strip()


def _described(report: dict) -> tuple[list[str], list[str]]:
    """The vulnerabilities of a report, and the packages that the service does not know."""
    found, unknown = [], []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unknown.append(package["name"])
        for entry in package.get("vulns", ()):
            fixed = ", ".join(entry["fix_versions"]) or "no version yet"
            found.append(f"{package['name']} {package['version']}: {entry['id']}, fixed in {fixed}")
    return found, unknown


def main() -> int:
    versions = pinned()
    vulnerable: list[str] = []
    unknown: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(max(map(len, versions.values()))):
            pins = [f"{name}=={found[turn]}" for name, found in versions.items() if turn < len(found)]
            report, said = audit(pins, Path(folder))
            if report is None:
                print(f"SKIPPED: make audit: pip-audit could not ask:\n  {said[-300:]}")
                return 0
            for known, new in zip((vulnerable, unknown), _described(report), strict=True):
                known += new
    total = sum(map(len, versions.values()))
    if len(unknown) == total:
        print(f"SKIPPED: make audit: the service that pip-audit asks knows none of {total} packages; a mirror has none")
        return 0
    print("\n".join(vulnerable + [f"not known to the service: {name}" for name in unknown]))
    print(f"{total - len(unknown)} of {total} pinned versions asked about: {len(vulnerable)} known vulnerabilities")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
