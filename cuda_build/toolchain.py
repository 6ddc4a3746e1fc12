"""What the build needs and where it is: nvcc, the host compiler, the headers of torch and pybind11."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# The first with cudaLaunchKernelEx.
_OLDEST_NVCC = (11, 8)
# The stable ABI that csrc/bindings asks for.
OLDEST_TORCH = (2, 11)
# Where the toolkit's own installer puts it, which it does not add to the PATH.
_USUAL_HOME = "/usr/local/cuda"
_ISOLATION = "install with --no-build-isolation into an environment that has it"


class CannotBuild(Exception):
    """Something is missing or too old; the message says what, and what to do."""


def run(*command: str | Path) -> str:
    """What a program prints, on either stream. Raises CannotBuild, with all of it, if it fails."""
    try:
        done = subprocess.run(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except OSError as error:
        raise CannotBuild(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        raise CannotBuild(f"{shlex.join(map(str, command))} exited with {done.returncode}:\n{done.stdout.strip()}")
    return done.stdout


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
class Package:
    """A Python package that brings headers."""

    version: str
    path: Path
    include: Path


@dataclass(frozen=True)
class Toolchain:
    """All of it. ``host_compiler``: the command; ``host_version``: the first line it prints about itself."""

    nvcc: Nvcc
    host_compiler: tuple[str, ...]
    host_version: str
    torch: Package
    pybind11: Package


def find_toolchain(environment: Mapping[str, str]) -> Toolchain:
    """Raises CannotBuild for the first thing that is missing. A second passes: nvcc compiles an empty kernel."""
    if not sys.platform.startswith("linux"):
        raise CannotBuild(f"the CUDA extension is built on Linux only, this is {sys.platform}")
    nvcc, torch, pybind11 = find_nvcc(environment), find_torch(), find_pybind11()
    host_compiler = tuple(shlex.split(environment.get("CXX", "") or "g++"))
    try:
        host_version = run(*host_compiler, "--version").splitlines()[0]
    except CannotBuild as error:
        raise CannotBuild(f"no C++ compiler: {error}. Install g++, or name another by CXX") from error
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        raise CannotBuild("no Python.h: install the headers of this Python (Debian, Ubuntu: apt install python3-dev)")
    _compile_nothing(nvcc, host_compiler)
    return Toolchain(nvcc, host_compiler, host_version, torch, pybind11)


def find_nvcc(environment: Mapping[str, str]) -> Nvcc:
    """Under CUDA_HOME or CUDA_PATH if one of these is set, or else on the PATH or where it usually is."""
    home = environment.get("CUDA_HOME") or environment.get("CUDA_PATH")
    usual = os.pathsep.join([environment.get("PATH", ""), f"{_USUAL_HOME}/bin"])
    found = shutil.which("nvcc", path=f"{home}/bin" if home else usual)
    if found is None:
        where = f"in {home}/bin" if home else f"on the PATH or in {_USUAL_HOME}/bin"
        raise CannotBuild(
            f"no nvcc {where}: install the CUDA toolkit, and set CUDA_HOME to its directory "
            "(such as /usr/local/cuda) or put its bin/ on the PATH"
        )
    version = re.search(r"release [\d.]+, V([\d.]+)", run(found, "--version"))
    if version is None:
        raise CannotBuild(f"{found} --version names no version: it is no nvcc")
    if _release(version[1]) < _OLDEST_NVCC:
        raise CannotBuild(
            f"nvcc {version[1]} ({found}) is too old: install CUDA 11.8 or later, and set CUDA_HOME to it"
        )
    known = re.findall(r"compute_(\d+)\b", run(found, "--list-gpu-arch"))
    return Nvcc(Path(found), version[1], _toolkit(found), tuple(known))


def _toolkit(nvcc: str) -> Path:
    """The directory that nvcc itself calls TOP: the nvcc on the PATH may be a script or a link."""
    top = re.search(r"^#\$ TOP=(.+)$", run(nvcc, "--dryrun", "-E", "-x", "cu", "/dev/null"), re.MULTILINE)
    if top is None:
        return Path(nvcc).resolve().parents[1]
    return Path(top[1]).resolve()


def find_torch() -> Package:
    """Found, not imported: the build needs its headers, and importing takes seconds."""
    path = _package_path("torch")
    if path is None:
        raise CannotBuild(f"no torch in {sys.prefix}: {_ISOLATION}")
    facts = runpy.run_path(str(path / "version.py"))
    version = str(facts["__version__"])
    if _release(version) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise CannotBuild(f"torch {version} is too old for its stable ABI: install torch {oldest} or later")
    return Package(version, path, path / "include")


def has_cuda_build_of_torch() -> bool:
    """Whether the torch that is installed could use the extension."""
    path = _package_path("torch")
    return path is not None and runpy.run_path(str(path / "version.py")).get("cuda") is not None


def find_pybind11() -> Package:
    """The copy among torch's headers, which would be found first in any case; or else the package."""
    for name in ("torch", "pybind11"):
        path = _package_path(name)
        if path is not None and (header := path / "include" / "pybind11" / "detail" / "common.h").exists():
            numbers = re.findall(
                r"^#\s*define PYBIND11_VERSION_M(?:AJOR|INOR)\s+(\d+)", header.read_text(), re.MULTILINE
            )
            return Package(".".join(numbers), path, path / "include")
    raise CannotBuild(f"no pybind11 in {sys.prefix}: pip install pybind11, and {_ISOLATION}")


def _package_path(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


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
