"""Where CPU and GPU part ways: one file per kind of device."""

from __future__ import annotations

import torch
from torch import Tensor

from bertfast.backends.backend import Backend, CapturedGraph, CaptureError, GraphPool
from bertfast.backends.cpu import CpuBackend
from bertfast.backends.cuda import CudaBackend
from bertfast.precision import Choice

__all__ = [
    "Backend",
    "CaptureError",
    "CapturedGraph",
    "CpuBackend",
    "CudaBackend",
    "GraphPool",
    "find_backend",
    "resolve_precision",
]


def resolve_precision(asked: str | None, weight: Tensor) -> Choice:
    """In what weights like ``weight`` are multiplied where they are: see `Backend.resolve`."""
    backend = find_backend(weight.device)
    return Choice() if backend is None else backend.resolve(asked, weight.dtype)


def find_backend(device: torch.device) -> Backend | None:
    """Who runs encoders whose weights are on ``device``; None if nobody does."""
    if device.type == "cpu":
        return CpuBackend()
    return CudaBackend(device) if device.type == "cuda" else None
