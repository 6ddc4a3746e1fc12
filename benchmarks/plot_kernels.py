"""Draw kernels_speed.svg and kernels_roofline.svg from a record of the kernels' benchmarks.

    python -m benchmarks.plot_kernels benchmarks/results/<device>/kernels_cpu.json docs/images

Needs matplotlib: pip install '.[plot]'. The same record gives the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

from benchmarks.kernels.plot import draw_roofline, draw_speed, points


def main() -> None:
    """Read the record, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path, help="what make bench-kernels wrote")
    parser.add_argument("folder", type=Path, help="where the figures go")
    arguments = parser.parse_args()
    if importlib.util.find_spec("matplotlib") is None:
        parser.error("matplotlib not installed: pip install '.[plot]'")
    record = json.loads(arguments.record.read_text())
    if not (record.get("ceilings") and any(point.gflop_per_s for point in points(record))):
        parser.error(
            f"{arguments.record}: expected ceilings and kernels that compute, as make bench-kernels writes them"
        )
    draw_speed(record, arguments.folder / "kernels_speed.svg")
    left_out = draw_roofline(record, arguments.folder / "kernels_roofline.svg")
    if left_out:
        print(f"kernels_roofline.svg: without {', '.join(left_out)}, which compute nothing")


if __name__ == "__main__":
    main()
