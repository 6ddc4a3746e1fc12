"""benchmarks/kernels: what it times, and how; the benchmarks themselves are run by ``make bench-kernels``."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
