"""The time that a GPU needs for some work at least, and what it needs it for."""

from __future__ import annotations

from dataclasses import dataclass

from bertfast.roofline.machines import Gpu
from bertfast.roofline.work import Work


@dataclass(frozen=True)
class Bound:
    """time_us: of the most wanted resource, were it never idle; limit: which that is."""

    time_us: float
    limit: str


def bound(work: Work, gpu: Gpu) -> Bound:
    """Of this work on that GPU, with data in memory and without the launch."""
    seconds = {
        "memory": work.num_bytes / gpu.bytes_per_s,
        "floats": work.flops / gpu.float_flops,
        "tensor cores": work.tensor_flops / gpu.tensor_flops,
        "special functions": work.special_ops / gpu.special_ops,
    }
    limit = max(seconds, key=lambda name: seconds[name])
    return Bound(seconds[limit] * 1e6, limit)
