"""What a reader must know to compare a figure: the GPU, the versions, the commit.

``python -m benchmarks.gpu.environment`` prints it as JSON. The driver asks in a process of its own: one that has
touched CUDA keeps memory of the GPU as long as it lives.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from benchmarks.gpu.paths import ROOT
from native_build.cuda import toolchain
from native_build.cuda.toolchain import Nvcc
from native_build.tools import CannotBuild

_PACKAGES = ("torch", "transformers", "numpy")
_SMI_FIELDS = ("driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "power.limit")


def describe() -> dict[str, Any]:
    """All of it. ``missing``: why nothing can be run on a GPU here, or None. ``missing_packages``: why nothing can be
    run at all, or None.
    """
    nvcc = find_nvcc()
    found: dict[str, Any] = {"python": platform.python_version(), "commit": commit(), "nvcc": nvcc and nvcc.version}
    # Nothing of bertfast's that needs these is imported before.
    absent = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    found["missing_packages"] = f"{sys.executable} has no {', '.join(absent)}" if absent else None
    if absent:
        return {**found, "missing": found["missing_packages"]}
    try:
        import torch
    except ImportError as error:
        reason = f"torch cannot be imported: {error}"
        return {**found, "missing_packages": reason, "missing": reason}
    found["torch"] = torch.__version__
    found["torch_cuda"] = torch.version.cuda
    from bertfast.environment.gpus import why_no_gpu

    found["missing"] = why_no_gpu()
    return found if found["missing"] else {**found, **_gpu(), "nvidia_smi": nvidia_smi()}


def _gpu() -> dict[str, Any]:
    import torch

    from bertfast.environment.describe import summary
    from bertfast.environment.gpus import gpus

    gpu = asdict(gpus()[0])
    return {
        **summary(),
        "gpu": gpu.pop("name"),
        **gpu,
        "cudnn": torch.backends.cudnn.version(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }


def nvidia_smi() -> dict[str, str] | None:
    """The driver's version and the clocks as they are now; None without the program."""
    from bertfast.environment.gpus import query_smi

    return query_smi(_SMI_FIELDS)


def commit() -> str | None:
    """The commit, with ``+changes`` if files differ from it; None outside of a git checkout."""
    head = _output("git", "-C", str(ROOT), "rev-parse", "HEAD")
    if head is None:
        return None
    return head.strip() + ("+changes" if _output("git", "-C", str(ROOT), "status", "--porcelain", "-uno") else "")


def find_nvcc() -> Nvcc | None:
    """The one that the build takes; None where it takes none."""
    try:
        return toolchain.find_nvcc(os.environ)
    except CannotBuild:
        return None


def slug(name: str) -> str:
    """A folder's name for a GPU's: ``nvidia-h200``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


if __name__ == "__main__":
    print(json.dumps(describe()))
