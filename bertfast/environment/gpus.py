"""The NVIDIA GPUs that torch sees."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Gpu:
    """One of them, as torch counts them."""

    name: str
    compute_capability: str
    multiprocessors: int
    memory_bytes: int
    l2_bytes: int


def gpus() -> tuple[Gpu, ...]:
    """All of them; none where torch can use none. Starts CUDA in this process."""
    if not torch.cuda.is_available():
        return ()
    return tuple(_gpu(index) for index in range(torch.cuda.device_count()))


def why_no_gpu() -> str | None:
    """Why torch uses none; None if it does."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} (CUDA {torch.version.cuda}) finds no usable NVIDIA GPU"
    return None


def driver_version() -> str | None:
    """Of NVIDIA's driver; None where ``nvidia-smi`` does not tell."""
    found = query_smi(["driver_version"])
    return None if found is None else found["driver_version"]


def query_smi(fields: Sequence[str]) -> dict[str, str] | None:
    """What ``nvidia-smi`` says of the first GPU, by field; None without the program, or if it fails."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    values = [value.strip() for line in done.stdout.splitlines()[:1] for value in line.split(",")]
    return dict(zip(fields, values, strict=True)) if done.returncode == 0 and len(values) == len(fields) else None


def _gpu(index: int) -> Gpu:
    found = torch.cuda.get_device_properties(index)
    return Gpu(
        name=found.name,
        compute_capability=f"{found.major}.{found.minor}",
        multiprocessors=found.multi_processor_count,
        memory_bytes=found.total_memory,
        l2_bytes=found.L2_cache_size,
    )
