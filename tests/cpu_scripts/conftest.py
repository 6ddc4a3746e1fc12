"""The parts of the comparison on a CPU; its scripts are run by tests/test_scripts.py."""

from __future__ import annotations

import sys
from pathlib import Path

# Last: benchmarks has folders of the same names as tests.
sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
