"""Draw the figures of a record: of `make compare` or of `make bench-kernels`, by what it holds.

    python -m benchmarks.plot benchmarks/results/<device>/compare_cpu.json docs/images
    python -m benchmarks.plot benchmarks/results/<device>/kernels_cpu.json docs/images

The first writes <name of the record>.svg, the second kernels_speed.svg and kernels_roofline.svg. Needs matplotlib:
pip install '.[plot]'. The same record gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cpu import plot as comparison
from benchmarks.kernels import plot as kernels
from bertfast.plotting import need_matplotlib


def main() -> None:
    """Read the record, write its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path, help="what make compare --json or make bench-kernels wrote")
    parser.add_argument("folder", type=Path, help="where the figures go")
    arguments = parser.parse_args()
    try:
        need_matplotlib()
        record = json.loads(arguments.record.read_text())
    except (ModuleNotFoundError, OSError, ValueError) as error:
        parser.error(str(error))
    if _is_of_kernels(record):
        _draw_kernels(record, arguments.folder)
    elif _is_comparison(record):
        comparison.draw(record, arguments.folder / f"{arguments.record.stem}.svg")
    else:
        parser.error(
            f"{arguments.record}: expected results of compare_cpu.py, or ceilings and kernels that compute, "
            "as make bench-kernels writes them"
        )


def _is_of_kernels(record: Mapping[str, Any]) -> bool:
    has_all = record.get("ceilings") and record.get("benchmarks")
    return bool(has_all) and any(point.gflop_per_s for point in kernels.points(record))


def _is_comparison(record: Mapping[str, Any]) -> bool:
    results = record.get("results", ())
    return bool(results) and all({"precision", "row", "timings"} <= result.keys() for result in results)


def _draw_kernels(record: Mapping[str, Any], folder: Path) -> None:
    kernels.draw_speed(record, folder / "kernels_speed.svg")
    left_out = kernels.draw_roofline(record, folder / "kernels_roofline.svg")
    if left_out:
        print(f"kernels_roofline.svg: without {', '.join(left_out)}, which compute nothing")


if __name__ == "__main__":
    main()
