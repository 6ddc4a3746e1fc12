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
import shutil
import subprocess
import sys
from typing import Any

from benchmarks.gpu.paths import ROOT
from cuda_build import toolchain
from cuda_build.toolchain import Nvcc

_PACKAGES = ("torch", "transformers", "numpy")
_SMI_FIELDS = ("driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "power.limit")


def describe() -> dict[str, Any]:
    """All of it. ``missing``: why nothing can be run on a GPU here, or None. ``missing_packages``: why nothing can be
    run at all, or None.
    """
    nvcc = find_nvcc()
    found: dict[str, Any] = {"python": platform.python_version(), "commit": commit(), "nvcc": nvcc and nvcc.version}
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
    if torch.version.cuda is None:
        return {**found, "missing": f"torch {torch.__version__} is a build without CUDA"}
    if not torch.cuda.is_available():
        return {**found, "missing": f"torch {torch.__version__} (CUDA {torch.version.cuda}) finds no usable NVIDIA GPU"}
    return {**found, **_versions(), **_gpu(), "nvidia_smi": nvidia_smi(), "missing": None}


def _versions() -> dict[str, Any]:
    from benchmarks.timing import environment

    return environment()


def _gpu() -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_properties(0)
    return {
        "gpu": gpu.name,
        "compute_capability": f"{gpu.major}.{gpu.minor}",
        "multiprocessors": gpu.multi_processor_count,
        "memory_bytes": gpu.total_memory,
        "l2_bytes": gpu.L2_cache_size,
        "cudnn": torch.backends.cudnn.version(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }


def nvidia_smi() -> dict[str, str] | None:
    """The driver's version and the clocks as they are now; None without the program."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = f"--query-gpu={','.join(_SMI_FIELDS)}"
    output = _output("nvidia-smi", query, "--format=csv,noheader", "--id=0")
    values = [value.strip() for value in (output or "").splitlines()[:1] for value in value.split(",")]
    return dict(zip(_SMI_FIELDS, values, strict=True)) if len(values) == len(_SMI_FIELDS) else None


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
    except toolchain.CannotBuild:
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
