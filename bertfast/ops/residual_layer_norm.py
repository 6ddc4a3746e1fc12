"""``bertfast::residual_layer_norm``: the sum of a projection and its residual stream, normalised."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.ops._library import check_dtype, check_shape, register


def residual_layer_norm(
    x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float, x_bias: Tensor | None = None
) -> Tensor:
    """LayerNorm of ``x + x_bias + residual`` over the last axis.

    x, residual: [T, H]; weight, bias: [H]; x_bias: [H], of the dense layer that made x, or None if x has it already
    -> [T, H], dtype of x. Post-LN as in BERT (Devlin et al., 2018). Raises ValueError for shapes and dtypes that do
    not fit.
    """
    return torch.ops.bertfast.residual_layer_norm(  # type: ignore[no-any-return]
        x, residual, weight, bias, eps, x_bias
    )


def _check(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float, x_bias: Tensor | None = None) -> None:
    check_shape("x", x, "T", "H")
    check_shape("residual", residual, *x.shape)
    check_dtype("residual", residual, x.dtype)
    for name, parameter in {"weight": weight, "bias": bias, "x_bias": x_bias}.items():
        if parameter is not None:
            check_shape(name, parameter, x.shape[1])
            check_dtype(name, parameter, x.dtype)


def _reference(
    x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float, x_bias: Tensor | None = None
) -> Tensor:
    x = x + residual if x_bias is None else (x + x_bias).add_(residual)
    return F.layer_norm(x, weight.shape, weight, bias, eps)


def _fake(
    x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float, x_bias: Tensor | None = None
) -> Tensor:
    return x.new_empty(x.shape)


register(
    "residual_layer_norm(Tensor x, Tensor residual, Tensor weight, Tensor bias, float eps, Tensor? x_bias=None)"
    " -> Tensor",
    _reference,
    _fake,
    _check,
)
