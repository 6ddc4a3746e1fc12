"""The command line that both benchmarks have."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def parse(about: str | None, seconds: float, given: Sequence[str] | None = None) -> argparse.Namespace:
    """json, seconds, rounds, dry_run. about: the script's docstring; seconds: what it takes unless told otherwise."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="the file to write, after every row")
    parser.add_argument("--seconds", type=float, default=seconds, help="to measure for (%(default).0f)")
    parser.add_argument("--rounds", type=int, default=7, help="that candidates take turns in (%(default)d)")
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes on the CPU, to exercise the code")
    return parser.parse_args(given)
