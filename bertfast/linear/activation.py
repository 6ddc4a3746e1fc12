"""The activation of a dense layer by PyTorch, and what oneDNN calls it."""

from __future__ import annotations

import torch
from torch import Tensor

#: Activation -> oneDNN's post-op and its algorithm. Not its ReLU, which makes NaN zero.
POST_OPS = {"erf": ("gelu", "none"), "tanh": ("gelu", "tanh")}
NO_POST_OP = ("none", "")


def activate_(y: Tensor, activation: str) -> Tensor:
    """Apply the activation in place."""
    if activation == "relu":
        return y.relu_()
    torch.ops.aten.gelu_(y, approximate={"erf": "none", "tanh": "tanh"}[activation])
    return y
