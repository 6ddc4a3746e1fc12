"""The emulated kernels as ``torch.ops.bertfast_emulated.*``: built when first asked for, and kept in ``build/``."""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
# Those of csrc/bindings/schema.cpp, each with the schema and the fake of bertfast/ops/<op>.py.
KERNEL_OPS = ("bias_gelu", "residual_layer_norm")


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))} exited with {done.returncode}:\n{done.stdout}", pytrace=False)
    return done.stdout


def _build() -> Path:
    """The shared library. A directory for each torch and compiler; inside of it only what has changed is compiled."""
    torch_directory = Path(torch.__path__[0])
    key = f"{ROOT} {torch_directory} {torch.__version__} {_run('g++', '--version')}"
    build = ROOT / "build" / f"emulated-ops-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    build.mkdir(parents=True, exist_ok=True)
    options = ["-DBERTFAST_DEVICE_KERNELS=OFF", "-DCMAKE_CXX_COMPILER=g++", f"-DBERTFAST_TORCH={torch_directory}"]
    if shutil.which("ninja"):
        options += ["-G", "Ninja"]
    with (build / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _run("cmake", "-S", ROOT, "-B", build, *options)
        _run("cmake", "--build", build, "--target", "bertfast_emulated_ops", "--parallel", "2")
    return build / "csrc" / "bindings" / "libbertfast_emulated_ops.so"


@cache
def load() -> Any:
    """``torch.ops.bertfast_emulated``, with the fakes of ``torch.ops.bertfast``; skips where it cannot be built."""
    missing = [tool for tool in ("cmake", "g++") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} on the PATH")
    torch.ops.load_library(_build())
    for name in KERNEL_OPS:
        torch.library.register_fake(f"bertfast_emulated::{name}", importlib.import_module(f"bertfast.ops.{name}")._fake)
    return torch.ops.bertfast_emulated
