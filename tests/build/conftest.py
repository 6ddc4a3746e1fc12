"""The build's own code, and real builds of the extensions, of CUDA for one architecture, kept in ``build/``."""

from __future__ import annotations

import hashlib
import importlib.machinery
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import processes
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

_STEERING = {
    *("BERTFAST_CUDA", "BERTFAST_CPU", "BERTFAST_CPU_KERNELS", "BERTFAST_CPU_ISA", "TORCH_CUDA_ARCH_LIST"),
    *("MAX_JOBS", "CUDA_HOME", "CUDA_PATH", "CXX", "PYTHONPATH"),
}


def environment(**changes: str) -> dict[str, str]:
    """This process's, without what steers a build, and with ``changes``."""
    return {**{name: value for name, value in os.environ.items() if name not in _STEERING}, **changes}


def run_setup(*arguments: str | Path, cwd: Path = ROOT, **changes: str) -> subprocess.CompletedProcess[str]:
    """``python setup.py ...``, which may fail."""
    return subprocess.run(
        [sys.executable, "setup.py", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env=environment(**changes),
        timeout=900,
    )


def copy_sources(target: Path) -> Path:
    """What a source distribution holds, as far as a build needs it."""
    skip = shutil.ignore_patterns("__pycache__", "*.so")
    for name in ("bertfast", "native_build", "csrc"):
        shutil.copytree(ROOT / name, target / name, ignore=skip)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)
    return target


def run_python(code: str, where: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """``code`` by this Python, with the ``bertfast`` that is in ``where``."""
    paths = os.pathsep.join([str(where), str(ROOT / "tests")])
    without = dict.fromkeys(_STEERING)
    return processes.run_python("-c", code, cwd=where, timeout=600, **{**without, "PYTHONPATH": paths, **variables})


# One for each environment: what is built depends on its torch.
_KEPT = ROOT / "build" / f"extension-{hashlib.sha256(sys.prefix.encode()).hexdigest()[:12]}"


def build_extension() -> subprocess.CompletedProcess[str]:
    """Compile the extension for sm_80 and as PTX; what was compiled before is kept."""
    missing = [tool for tool in ("nvcc", "g++") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} on the PATH")
    return run_setup(
        *("build_ext", "--build-lib", _KEPT / "lib", "--build-temp", _KEPT / "temp"),
        BERTFAST_CUDA="1",
        BERTFAST_CPU="0",
        TORCH_CUDA_ARCH_LIST="8.0+PTX",
        MAX_JOBS="2",
        CXX="g++ -Wall -Wextra -Werror",
    )


def build_cpu_extension() -> subprocess.CompletedProcess[str]:
    """The same of the CPU kernels, with every warning an error."""
    skip_unless_cpu_kernels_can_be_built()
    return run_setup(
        *("build_ext", "--build-lib", _KEPT / "cpu_lib", "--build-temp", _KEPT / "cpu_temp"),
        BERTFAST_CUDA="0",
        BERTFAST_CPU="1",
        MAX_JOBS="2",
        # Intel's intrinsics, as g++ 12 defines them, set registers from themselves (gcc's bug 105593).
        CXX="g++ -Wall -Wextra -Werror -Wno-uninitialized -Wno-maybe-uninitialized",
    )


def skip_unless_cpu_kernels_can_be_built() -> None:
    """They are for one system and need a compiler."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64" or shutil.which("g++") is None:
        pytest.skip("needs Linux on x86-64, and g++ on the PATH")


def binaries_of_other_environments() -> list[Path]:
    """Those that the tests have left in ``build/``: for this version of Python, and newer than the sources."""
    pattern = f"extension-*/lib/bertfast/_C{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    sources = [*(ROOT / "csrc" / "bindings").iterdir(), ROOT / "bertfast" / "_version.py"]
    newest = max(path.stat().st_mtime for path in sources)
    others = [path for path in sorted(_KEPT.parent.glob(pattern)) if _KEPT not in path.parents]
    return [path for path in others if path.stat().st_mtime > newest]


def package(where: Path, binary: Path | None = None) -> Path:
    """``where``, with the package in it, and with the extension."""
    shutil.copytree(ROOT / "bertfast", where / "bertfast", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    if binary is not None:
        shutil.copy(binary, where / "bertfast")
    return where


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package and its extension."""
    done = build_extension()
    assert done.returncode == 0, done.stdout
    (binary,) = (_KEPT / "lib" / "bertfast").glob("_C.*.so")
    return package(tmp_path_factory.mktemp("built"), binary)


@pytest.fixture(scope="session")
def cpu_objects() -> Path:
    """The folder of what was compiled for ``bertfast._cpu``, beside the binary."""
    done = build_cpu_extension()
    assert done.returncode == 0, done.stdout
    return _KEPT / "cpu_temp" / "bertfast._cpu"


@pytest.fixture(scope="session")
def cpu_binary(cpu_objects: Path) -> Path:
    """``bertfast._cpu``."""
    (binary,) = (_KEPT / "cpu_lib" / "bertfast").glob("_cpu.*.so")
    return binary


@pytest.fixture
def built_cpu(cpu_binary: Path, tmp_path: Path) -> Path:
    """A directory with the package and its CPU kernels."""
    return package(tmp_path, cpu_binary)


@pytest.fixture
def without_extension(tmp_path: Path) -> Path:
    """A directory with the package alone."""
    return package(tmp_path)
