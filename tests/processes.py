"""Python in processes of their own: for what would end this one, or is asked of one that has done nothing yet."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_python(
    *arguments: str | Path, cwd: Path = ROOT, timeout: float = 300, **variables: str | None
) -> subprocess.CompletedProcess[str]:
    """``python ARGUMENTS``, with the bertfast of this clone and the tests' modules unless PYTHONPATH is given.

    variables: of the environment; without those that are None.
    """
    paths = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, **variables}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={name: value for name, value in environment.items() if value is not None},
        timeout=timeout,
    )


def printed(*arguments: str | Path, cwd: Path = ROOT, timeout: float = 300, **variables: str | None) -> str:
    """What it prints; that it does not fail is asserted."""
    done = run_python(*arguments, cwd=cwd, timeout=timeout, **variables)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


#: Runs a program at addresses that are not random: ThreadSanitizer's shadow memory has no room for those.
FIXED_ADDRESSES = ("setarch", "-R")
NO_FIXED_ADDRESSES = "needs setarch -R, which switches address randomization off, and the right to do so"


@functools.cache
def has_fixed_addresses() -> bool:
    """Whether `FIXED_ADDRESSES` is there, and allowed."""
    if shutil.which(FIXED_ADDRESSES[0]) is None:
        return False
    return subprocess.run([*FIXED_ADDRESSES, "true"], capture_output=True, timeout=60).returncode == 0
