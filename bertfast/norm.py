"""The parameters of a LayerNorm."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Norm:
    """weight, bias: [H]."""

    weight: Tensor
    bias: Tensor
    eps: float
