"""What the CUDA extension needs and where it is: nvcc, its host compiler, the headers of torch."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from native_build.tools import (
    ISOLATION,
    CannotBuild,
    Compiler,
    Package,
    find_compiler,
    find_pybind11,
    find_python_headers,
    package_path,
    run,
)

# The first with cudaLaunchKernelEx.
_OLDEST_NVCC = (11, 8)
# The stable ABI that csrc/bindings asks for.
OLDEST_TORCH = (2, 11)
# Where the toolkit's own installer puts it, which it does not add to the PATH.
_USUAL_HOME = "/usr/local/cuda"


@dataclass(frozen=True)
class Nvcc:
    """The CUDA compiler. ``home``: of the toolkit, where include/ is. ``architectures``: known to it, such as "90"."""

    path: Path
    version: str
    home: Path
    architectures: tuple[str, ...]

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version."""
        return _release(self.version)


@dataclass(frozen=True)
class Toolchain:
    """All of it."""

    nvcc: Nvcc
    host: Compiler
    torch: Package
    pybind11: Package
    python_headers: Path


def find_toolchain(environment: Mapping[str, str]) -> Toolchain:
    """Raises CannotBuild for the first thing that is missing. A second passes: nvcc compiles an empty kernel."""
    if not sys.platform.startswith("linux"):
        raise CannotBuild(f"the CUDA extension is built on Linux only, this is {sys.platform}")
    _locate_nvcc(environment)
    # Before nvcc is asked anything: without a host compiler it tells nothing of itself.
    host = find_compiler(environment)
    # torch's copy of pybind11 would be found first in any case.
    nvcc, torch, pybind11 = find_nvcc(environment, host), find_torch(), find_pybind11("torch", "pybind11")
    python_headers = find_python_headers()
    _compile_nothing(nvcc, host.command)
    return Toolchain(nvcc, host, torch, pybind11, python_headers)


def find_nvcc(environment: Mapping[str, str], host: Compiler | None = None) -> Nvcc:
    """Under CUDA_HOME or CUDA_PATH if one of these is set, or else on the PATH or where it usually is.

    host: the compiler that it works with; None for its own choice.
    """
    found = _locate_nvcc(environment)
    version = re.search(r"release [\d.]+, V([\d.]+)", run(found, "--version"))
    if version is None:
        raise CannotBuild(f"{found} --version names no version: it is no nvcc")
    if _release(version[1]) < _OLDEST_NVCC:
        raise CannotBuild(
            f"nvcc {version[1]} ({found}) is too old: install CUDA 11.8 or later, and set CUDA_HOME to it"
        )
    known = re.findall(r"compute_(\d+)\b", run(found, "--list-gpu-arch"))
    return Nvcc(Path(found), version[1], _toolkit(found, host), tuple(known))


def _locate_nvcc(environment: Mapping[str, str]) -> str:
    home = environment.get("CUDA_HOME") or environment.get("CUDA_PATH")
    usual = os.pathsep.join([environment.get("PATH", ""), f"{_USUAL_HOME}/bin"])
    found = shutil.which("nvcc", path=f"{home}/bin" if home else usual)
    if found is None:
        where = f"in {home}/bin" if home else f"on the PATH or in {_USUAL_HOME}/bin"
        raise CannotBuild(
            f"no nvcc {where}: install the CUDA toolkit, and set CUDA_HOME to its directory "
            "(such as /usr/local/cuda) or put its bin/ on the PATH"
        )
    return found


def _toolkit(nvcc: str, host: Compiler | None) -> Path:
    """The directory that nvcc itself calls TOP: the nvcc on the PATH may be a script or a link."""
    top = re.search(r"^#\$ TOP=(.+)$", _dry_run(nvcc, host), re.MULTILINE)
    if top is None:
        return Path(nvcc).resolve().parents[1]
    return Path(top[1]).resolve()


def _dry_run(nvcc: str, host: Compiler | None) -> str:
    chosen = () if host is None else ("-ccbin", host.command[0])
    return run(nvcc, *chosen, "--dryrun", "-E", "-x", "cu", "/dev/null")


def find_torch() -> Package:
    """The build needs its headers."""
    path = package_path("torch")
    if path is None:
        raise CannotBuild(f"no torch in {sys.prefix}: {ISOLATION}")
    facts = runpy.run_path(str(path / "version.py"))
    version = str(facts["__version__"])
    if _release(version) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise CannotBuild(f"torch {version} is too old for its stable ABI: install torch {oldest} or later")
    return Package(version, path, path / "include")


def has_cuda_build_of_torch() -> bool:
    """Whether the torch that is installed could use the extension."""
    path = package_path("torch")
    return path is not None and runpy.run_path(str(path / "version.py")).get("cuda") is not None


def _release(version: str) -> tuple[int, int]:
    major, minor = re.findall(r"\d+", version)[:2]
    return int(major), int(minor)


def _compile_nothing(nvcc: Nvcc, host_compiler: tuple[str, ...]) -> None:
    """nvcc refuses some host compilers, and says so only when it has to use one."""
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "empty.cu"
        source.write_text("__global__ void nothing() {}\n")
        try:
            run(nvcc.path, "-ccbin", host_compiler[0], "-c", source, "-o", source.with_suffix(".o"))
        except CannotBuild as error:
            raise CannotBuild(
                f"nvcc {nvcc.version} cannot compile with {host_compiler[0]} as host compiler. Name one that it "
                f"supports, for example CXX=g++-12. It said:\n{error}"
            ) from error
