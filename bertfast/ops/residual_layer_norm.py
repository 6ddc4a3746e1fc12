"""``bertfast::residual_layer_norm``: the sum of a projection and its residual stream, normalised."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.ops._library import check_dtype, check_shape, register


def residual_layer_norm(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """LayerNorm of ``x + residual`` over the last axis.

    x, residual: [T, H]; weight, bias: [H] -> [T, H], dtype of x. Post-LN as in BERT (Devlin et al., 2018).
    Raises ValueError for shapes that do not fit.
    """
    return torch.ops.bertfast.residual_layer_norm(x, residual, weight, bias, eps)  # type: ignore[no-any-return]


def _check(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor) -> None:
    check_shape("x", x, "T", "H")
    check_shape("residual", residual, *x.shape)
    check_shape("weight", weight, x.shape[1])
    check_shape("bias", bias, x.shape[1])
    check_dtype("residual", residual, x.dtype)
    check_dtype("weight", weight, x.dtype)
    check_dtype("bias", bias, x.dtype)


def _reference(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    _check(x, residual, weight, bias)
    return F.layer_norm(x + residual, weight.shape, weight, bias, eps)


def _fake(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    _check(x, residual, weight, bias)
    return x.new_empty(x.shape)


register(
    "residual_layer_norm(Tensor x, Tensor residual, Tensor weight, Tensor bias, float eps) -> Tensor",
    _reference,
    _fake,
)
