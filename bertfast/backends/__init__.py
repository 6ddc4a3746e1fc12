"""Where CPU and GPU part ways: one file per kind of device."""

from __future__ import annotations

import torch

from bertfast.backends.backend import Backend, CapturedGraph, GraphPool
from bertfast.backends.cpu import CpuBackend
from bertfast.backends.cuda import CudaBackend

__all__ = ["Backend", "CapturedGraph", "CpuBackend", "CudaBackend", "GraphPool", "find_backend"]


def find_backend(device: torch.device) -> Backend | None:
    """Who runs encoders whose weights are on ``device``; None if nobody does."""
    if device.type == "cpu":
        return CpuBackend()
    return CudaBackend(device) if device.type == "cuda" else None
