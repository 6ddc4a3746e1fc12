"""Values to compute with: normally distributed, as a model's are, and never zeros."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

_POOL = 1 << 22


def normal(size: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """On a CPU copied out of one pool, from a random place on: to draw anew for each of a thousand inputs would take
    longer than to time them.
    """
    if device.type != "cpu":
        return torch.randn(tuple(size), device=device).to(dtype)
    count, pool = math.prod(size), _pool(dtype)
    out = torch.empty(count, dtype=dtype)
    start = int(torch.randint(len(pool), ()))
    filled = 0
    while filled < count:
        piece = pool[start : start + count - filled]
        out[filled : filled + len(piece)] = piece
        filled, start = filled + len(piece), 0
    return out.view(tuple(size))


@functools.cache
def _pool(dtype: torch.dtype) -> Tensor:
    return torch.randn(_POOL, generator=torch.Generator().manual_seed(0)).to(dtype)
