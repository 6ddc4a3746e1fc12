"""docs/kernels.md says what the sources and the table of resources say today; how it counts occupancy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bertfast.roofline.machines import MULTIPROCESSORS
from bertfast.roofline.occupancy import occupancy
from kernels.device.compiler import ROOT
from kernels.device.tools import MissingTool
from kernels.launches import build_launchers

_BENCHMARKS = ROOT / "benchmarks" / "kernels"


def _python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=_BENCHMARKS, timeout=600)


@pytest.mark.slow
def test_tables_are_current() -> None:
    try:
        build_launchers()
    except MissingTool as missing:
        pytest.skip(str(missing))
    done = _python(_BENCHMARKS / "roofline.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


# From the CUDA Occupancy Calculator's own way of counting, by hand: architecture, threads, registers and shared
# memory of a block; then blocks, and what there is not enough of.
_OCCUPANCIES = (
    ("80", 128, 32, 0, 16, "warps"),
    ("80", 128, 40, 0, 12, "registers"),  # 40 * 32 = 1280 a warp, 12 of them in a quarter of the registers
    ("80", 128, 255, 0, 2, "registers"),
    ("80", 64, 16, 0, 32, "blocks"),
    ("80", 128, 32, 48 << 10, 3, "shared memory"),  # 49 KB with the reserved one: 147 of 164
    ("86", 128, 32, 48 << 10, 2, "shared memory"),
    ("75", 128, 32, 32 << 10, 2, "shared memory"),
    ("90a", 1024, 32, 0, 2, "warps"),
)


@pytest.mark.parametrize("case", _OCCUPANCIES, ids=str)
def test_occupancy(case: tuple[str, int, int, int, int, str]) -> None:
    architecture, threads, registers, smem_bytes, blocks, limit = case
    found = occupancy(MULTIPROCESSORS[architecture], threads, registers, smem_bytes)
    assert (found.blocks, found.limit) == (blocks, limit)
