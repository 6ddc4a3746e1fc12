"""How far a result is from PyTorch's, which may be laid out in another way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.kernels.cases import KernelCase


def relative_error(case: KernelCase, ours: Any, theirs: Tensor) -> float:
    """In the Frobenius norm, where there are real tokens."""
    if case.op == "varlen_attention":
        # Theirs is [B, N, S, D], padded.
        columns = torch.arange(case.shape.length)
        mask = columns < torch.tensor(case.lengths).unsqueeze(1)
        theirs = theirs.transpose(1, 2)[mask.to(theirs.device)]
    if case.op == "first_token_attention":
        theirs = theirs.squeeze(2)
    return distance(ours, theirs)


def distance(ours: Tensor, theirs: Tensor) -> float:
    """``||ours - theirs|| / ||theirs||``."""
    return float((ours.float() - theirs.float()).norm() / theirs.float().norm())
