"""Where things are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: What is built and what is logged; git ignores it.
BUILD = ROOT / "build" / "gpu"
TESTS = ROOT / "tests" / "gpu"
RESULTS = ROOT / "benchmarks" / "results"
