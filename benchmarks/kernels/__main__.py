"""Print the table of a recorded run: ``python -m benchmarks.kernels FILE [--only float32,1024x]``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.kernels.tables import Line, render


def lines_of(record: Path, only: list[str]) -> list[Line]:
    """Those whose group's name has all of these words."""
    benchmarks = json.loads(record.read_text())["benchmarks"]
    return [
        (one["group"], one["params"]["implementation"], one["extra_info"], one["stats"]["median"] * 1e6)
        for one in benchmarks
        if all(word in one["group"] for word in only)
    ]


def main() -> None:
    """Parse and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("record", type=Path, help="what make bench-kernels wrote")
    parser.add_argument("--only", default="", help="words that the names of the groups have, separated by commas")
    arguments = parser.parse_args()
    found = lines_of(arguments.record, [word for word in arguments.only.split(",") if word])
    if not found:
        parser.error(f"--only {arguments.only}: no group of {arguments.record} has all of these in its name")
    print(render(found))


if __name__ == "__main__":
    main()
