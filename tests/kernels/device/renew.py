"""Compiles all kernels and writes resources.json anew: ``python tests/kernels/device/renew.py``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kernels.device.compiler import compile_device_code
from kernels.device.resources import read_resources
from kernels.device.table import PATH, differences, load_table, save_table
from kernels.device.tools import nvcc_version

if __name__ == "__main__":
    before = load_table() if PATH.exists() else {}
    after = read_resources(compile_device_code())
    save_table(after, nvcc_version())
    print("\n".join(differences(after, before)) or "as before, within what is allowed")
    print(f"{PATH}: {len(after)} instances")
