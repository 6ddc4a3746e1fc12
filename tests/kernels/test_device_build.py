"""CMake builds the device library by itself: with nvcc, for one architecture, and without torch."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from kernels.device.tools import run

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
# What each folder of csrc may include of the others; and only the bindings know torch.
_MAY_INCLUDE = {
    "kernels": {"kernels", "emulation/device.h"},  # the one for intrinsics.cuh, to be emulated
    "emulation": {"emulation"},
    "bindings": {"bindings", "emulation", "kernels"},
    "tests": {"cpu", "emulation", "kernels", "tests"},
    "cpu": {"cpu", "kernels/dtype.h"},
}
_SOURCES = sorted(path for path in CSRC.rglob("*") if path.suffix in {".h", ".cpp", ".cu", ".cuh"})


@pytest.mark.parametrize("path", _SOURCES, ids=lambda path: str(path.relative_to(CSRC)))
def test_includes_go_down(path: Path) -> None:
    folder = path.relative_to(CSRC).parts[0]
    for name in re.findall(r'#include [<"]([^">]+)[">]', path.read_text()):
        top = name.split("/")[0]
        if top in _MAY_INCLUDE:
            assert {top, name} & _MAY_INCLUDE[folder], f"{folder} may not include {name}"
        assert folder == "bindings" or top not in {"torch", "ATen", "c10"}, f"{folder} may not include {name}"


@pytest.mark.slow
def test_cmake_builds_the_device_library() -> None:
    missing = [tool for tool in ("cmake", "g++", "nvcc") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} on the PATH")
    build = ROOT / "build" / "device_library"  # kept: what has not changed is not compiled again
    configured = run("cmake", "-S", ROOT, "-B", build, "-DCMAKE_CUDA_ARCHITECTURES=80-real")
    assert "Device kernels: built for 80-real" in configured
    run("cmake", "--build", build, "--target", "bertfast_kernels", "--parallel", "2")
    symbols = run("nm", "--demangle", build / "libbertfast_kernels.a")
    for source in (CSRC / "kernels").glob("*.cu"):
        assert f" T bertfast::launch_{source.stem}(" in symbols
    assert not re.search(r"\b(torch|at|c10)::", symbols)
