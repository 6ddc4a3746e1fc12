"""``make gpu`` without a GPU: the code of every stage, run or asked about its parts on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
