"""Print the table of a recorded run: ``python -m benchmarks.kernels FILE [--only float32,1024x]``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks.kernels.tables import Line, render


def lines_of(record: Path, only: list[str]) -> list[Line]:
    """Those whose group's name has all of these words. Raises OSError, and ValueError for a file of something else."""
    found = json.loads(record.read_text())
    try:
        return [
            (one["group"], one["params"]["implementation"], one["extra_info"], one["stats"]["median"] * 1e6)
            for one in found["benchmarks"]
            if all(word in one["group"] for word in only)
        ]
    except (KeyError, TypeError) as error:
        raise ValueError("it holds no benchmarks of kernels") from error


def main() -> None:
    """Parse and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("record", type=Path, help="what make bench-kernels wrote")
    parser.add_argument("--only", default="", help="words that the names of the groups have, separated by commas")
    arguments = parser.parse_args()
    try:
        found = lines_of(arguments.record, [word for word in arguments.only.split(",") if word])
    except OSError as error:
        parser.error(f"{arguments.record}: {error.strerror}; expected what make bench-kernels wrote")
    except ValueError as error:
        parser.error(f"{arguments.record}: {error}; expected what make bench-kernels wrote")
    if not found:
        parser.error(f"--only {arguments.only}: no group of {arguments.record} has all of these in its name")
    try:
        print(render(found), flush=True)
    except BrokenPipeError:  # of `... | head`; Python would complain again when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
