"""``bertfast::bias_gelu``: bias and activation of the feed-forward network in one pass."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.ops._library import check_dtype, check_shape, register

ACTIVATIONS = ("erf", "tanh", "relu")


def bias_gelu(x: Tensor, bias: Tensor, activation: str = "erf") -> Tensor:
    """Activation of ``x + bias``. x: [T, I], bias: [I] -> [T, I], dtype of x.

    activation: ``"erf"`` is the exact GELU (Hugging Face ``gelu``), ``"tanh"`` its approximation
    (``gelu_new``, ``gelu_pytorch_tanh``), ``"relu"`` is ReLU. Raises ValueError for anything else.
    """
    return torch.ops.bertfast.bias_gelu(x, bias, activation)  # type: ignore[no-any-return]


def _check(x: Tensor, bias: Tensor, activation: str = "erf") -> None:
    check_shape("x", x, "T", "I")
    check_shape("bias", bias, x.shape[1])
    check_dtype("bias", bias, x.dtype)
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {activation!r}")


def _reference(x: Tensor, bias: Tensor, activation: str = "erf") -> Tensor:
    y = x.contiguous() + bias
    if activation == "relu":
        return torch.relu_(y)
    return F.gelu(y, approximate="tanh" if activation == "tanh" else "none")


def _fake(x: Tensor, bias: Tensor, activation: str = "erf") -> Tensor:
    return x.new_empty(x.shape)


register('bias_gelu(Tensor x, Tensor bias, str activation="erf") -> Tensor', _reference, _fake, _check)
