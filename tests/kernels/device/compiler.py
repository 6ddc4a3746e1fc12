"""Compiles csrc/kernels/*.cu for every architecture, once: what it made is kept, by a hash of what it read."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kernels.device.tools import nvcc, nvcc_version, run

ROOT = Path(__file__).resolve().parents[3]
KERNEL_DIRECTORY = ROOT / "csrc" / "kernels"
# `make clean` removes it with the other builds.
CACHE = ROOT / "build" / "device_code"
# T4; A100; RTX 30; L4 and RTX 40; H100 and H200; B200; RTX 50.
ARCHITECTURES = ("75", "80", "86", "89", "90a", "100", "120")
_OPTIONS = ("-std=c++17", "-O3", "-Werror=all-warnings", "-Xcompiler=-Wall,-Wextra,-Werror")
_JOBS = 2


@dataclass(frozen=True)
class DeviceCode:
    """One .cu file, compiled for one architecture."""

    source: str  # its name without .cu
    architecture: str
    ptx: Path
    cubin: Path
    report: str  # of ptxas -v


def sources() -> list[str]:
    """The .cu files of csrc/kernels, without their suffix."""
    return sorted(path.stem for path in KERNEL_DIRECTORY.glob("*.cu"))


def architectures() -> list[str]:
    """Those of ARCHITECTURES that this nvcc knows."""
    known = run(nvcc(), "--list-gpu-arch").split()
    return [name for name in ARCHITECTURES if f"compute_{name.rstrip('a')}" in known]


def compile_device_code(names: list[str] | None = None, wanted: list[str] | None = None) -> list[DeviceCode]:
    """Compile the named sources, or all, for the wanted architectures, or all that nvcc knows."""
    pairs = [(name, target) for name in (names or sources()) for target in (wanted or architectures())]
    with ThreadPoolExecutor(_JOBS) as pool:
        return list(pool.map(lambda pair: _compile(*pair), pairs))


def _compile(name: str, architecture: str) -> DeviceCode:
    source = KERNEL_DIRECTORY / f"{name}.cu"
    directory = CACHE / f"{name}_{architecture}"
    code = DeviceCode(name, architecture, directory / f"{name}.ptx", directory / f"{name}.cubin", "")
    report, stamp = directory / "ptxas.txt", directory / "stamp.json"
    key = {"sources": _hash_of_sources(source), "nvcc": nvcc_version(), "options": list(_OPTIONS)}
    if not (stamp.exists() and json.loads(stamp.read_text()) == key):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        options = ("-I", KERNEL_DIRECTORY.parent, *_OPTIONS)
        run(nvcc(), *options, "-ptx", f"-arch=compute_{architecture}", "-o", code.ptx, source)
        target = (f"-arch=sm_{architecture}", "-Xptxas=-v,-Werror")
        report.write_text(run(nvcc(), "-cubin", *target, "-o", code.cubin, code.ptx))
        # Last, so that a compilation that was cut off is not taken for one that ended.
        stamp.write_text(json.dumps(key))
    return DeviceCode(code.source, code.architecture, code.ptx, code.cubin, report.read_text())


def _hash_of_sources(source: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(_included(source, set())):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _included(path: Path, seen: set[Path]) -> set[Path]:
    """A file and all of the project's own that it includes, directly or not."""
    seen.add(path)
    for name in re.findall(r'#include "([^"]+)"', path.read_text()):
        included = KERNEL_DIRECTORY.parent / name
        # What only the emulation includes, nvcc does not read.
        if included not in seen and included.parent == KERNEL_DIRECTORY:
            _included(included, seen)
    return seen
