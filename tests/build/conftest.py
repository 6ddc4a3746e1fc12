"""The build's own code, and a real build of the extension for one architecture, made once and kept in ``build/``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

Python = Callable[..., subprocess.CompletedProcess[str]]


def environment(**changes: str) -> dict[str, str]:
    """This process's, without what steers a build, and with ``changes``."""
    steering = {"BERTFAST_CUDA", "TORCH_CUDA_ARCH_LIST", "MAX_JOBS", "CUDA_HOME", "CUDA_PATH", "CXX", "PYTHONPATH"}
    return {**{name: value for name, value in os.environ.items() if name not in steering}, **changes}


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
    for name in ("bertfast", "cuda_build", "csrc"):
        shutil.copytree(ROOT / name, target / name, ignore=skip)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)
    return target


def run_python(code: str, where: Path) -> subprocess.CompletedProcess[str]:
    """``code`` by this Python, with the ``bertfast`` that is in ``where``."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=where,
        env=environment(PYTHONPATH=os.pathsep.join([str(where), str(ROOT / "tests")])),
        timeout=600,
    )


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package and its extension, compiled for sm_80 and as PTX."""
    missing = [tool for tool in ("nvcc", "g++") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} on the PATH")
    kept = ROOT / "build" / f"extension-{sys.implementation.cache_tag}"
    done = run_setup(
        *("build_ext", "--build-lib", kept / "lib", "--build-temp", kept / "temp"),
        BERTFAST_CUDA="1",
        TORCH_CUDA_ARCH_LIST="8.0+PTX",
        MAX_JOBS="2",
    )
    assert done.returncode == 0, done.stdout
    package = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT / "bertfast", package / "bertfast", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (binary,) = (kept / "lib" / "bertfast").glob("_C.*.so")
    shutil.copy(binary, package / "bertfast")
    return package


@pytest.fixture
def without_extension(tmp_path: Path) -> Path:
    """A directory with the package alone."""
    shutil.copytree(ROOT / "bertfast", tmp_path / "bertfast", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    return tmp_path
