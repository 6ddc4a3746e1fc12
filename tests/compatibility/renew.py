"""Run every row on the installed transformers and write its column of docs/compatibility.md.

``make compatibility`` does it for both versions. The exit code is pytest's: 1 if any row differs from stock.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parent

if __name__ == "__main__":
    # This checkout's bertfast, whatever is installed.
    sys.path.insert(0, str(_FOLDER.parents[1]))
    os.environ["BERTFAST_RENEW_COMPATIBILITY"] = "1"
    sys.exit(pytest.main([str(_FOLDER), "-q", *sys.argv[1:]]))
