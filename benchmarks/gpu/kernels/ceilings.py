"""What this machine reaches at best, measured in the run whose figures are compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from benchmarks.gpu.timers import Call, Timer, interleave

_NAMES = {torch.bfloat16: "bfloat16", torch.float16: "float16", torch.float32: "float32"}


@dataclass(frozen=True)
class Ceilings:
    """copy_bytes_per_s: of a large copy inside the device, bytes read and written together. gemm_flops: FLOP/s of a
    large matrix product, by dtype; float32 is computed as torch's settings say, by default without TF32.
    """

    copy_bytes_per_s: float
    gemm_flops: Mapping[str, float]


def measure_ceilings(timer: Timer, copy_bytes: int = 1 << 30, gemm_size: int = 8192, rounds: int = 7) -> Ceilings:
    """Medians."""
    return Ceilings(
        _copy(timer, copy_bytes, rounds),
        {name: _gemm(timer, gemm_size, dtype, rounds) for dtype, name in _NAMES.items() if _has(timer, dtype)},
    )


def _has(timer: Timer, dtype: torch.dtype) -> bool:
    is_old = timer.device.type == "cuda" and torch.cuda.get_device_capability(timer.device) < (8, 0)
    return not (is_old and dtype == torch.bfloat16)


def _copy(timer: Timer, size: int, rounds: int) -> float:
    source = torch.ones(size // 4, device=timer.device)
    target = torch.empty_like(source)
    return 2 * size / _seconds(timer, lambda: target.copy_(source), rounds)


def _gemm(timer: Timer, size: int, dtype: torch.dtype, rounds: int) -> float:
    # Random: of zeros, a GPU multiplies more at the same power.
    a, b = (torch.randn(size, size, device=timer.device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * size**3 / _seconds(timer, lambda: torch.mm(a, b, out=out), rounds)


def _seconds(timer: Timer, call: Call, rounds: int) -> float:
    return interleave({"": timer.prepare([call])}, rounds)[""].median_us / 1e6
