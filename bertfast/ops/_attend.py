"""Attention by torch, for the references: what PyTorch's own gives, and NaN where there is one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """query: [..., N, Q, D]; key, value: [..., N, K, D] -> [..., N, Q, D].

    On a CPU ``scaled_dot_product_attention`` without a mask swallows a NaN among the scores, as it does not with one:
    whatever is not finite takes the long way.
    """
    if _is_finite(query) and _is_finite(key):
        return F.scaled_dot_product_attention(query, key, value, scale=scale)
    scores = (_wide(query) @ _wide(key).transpose(-1, -2)) * scale
    # A query whose scores are all -infinity gives 0, not NaN, as torch's attention under a mask does.
    weights = scores.softmax(-1).masked_fill((scores == -torch.inf).all(-1, keepdim=True), 0)
    return (weights @ _wide(value)).to(query.dtype)


def _is_finite(x: Tensor) -> bool:
    """False may mean that the sum of x is not: nothing is lost but time."""
    total = x.sum(dtype=torch.promote_types(x.dtype, torch.float32))
    return bool(total.isfinite())


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
