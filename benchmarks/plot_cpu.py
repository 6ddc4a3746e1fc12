"""Draw docs/images/compare_cpu.svg from the record of compare_cpu.py.

    python benchmarks/plot_cpu.py benchmarks/results/<device>/compare_cpu.json docs/images/compare_cpu.svg

Needs matplotlib: pip install '.[compare]'. The same record gives the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

from cpu.plot import draw


def main() -> None:
    """Read the record, write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path, help="what compare_cpu.py --json wrote")
    parser.add_argument("figure", type=Path, help="the SVG file to write")
    arguments = parser.parse_args()
    if importlib.util.find_spec("matplotlib") is None:
        parser.error("matplotlib not installed: pip install '.[compare]'")
    draw(json.loads(arguments.record.read_text()), arguments.figure)


if __name__ == "__main__":
    main()
