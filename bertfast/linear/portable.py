"""Dense layers of ATen and bertfast's own ops only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from bertfast.norm import Norm
from bertfast.ops import bias_gelu, residual_layer_norm


class PortableLinear:
    """ATen and bertfast's own ops only: any device with kernels for them, traceable by compile and export.

    The bias goes into the pass that follows a product, or into the product's own epilogue where none follows.
    """

    name = "portable"
    activation: str | None = None
    norm: str | None = None
    num_bytes = 0

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        ends = list(accumulate(len(bias) for bias in biases))
        self._parts = [
            (weight.t(), bias, slice(end - len(bias), end))
            for weight, bias, end in zip(weights, biases, ends, strict=True)
        ]

    @property
    def dtype(self) -> torch.dtype:
        return self._parts[0][1].dtype

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        if out is None or len(self._parts) == 1:
            return _joined([torch.addmm(bias, x, weight_t) for weight_t, bias, _ in self._parts])
        for weight_t, bias, columns in self._parts:
            torch.addmm(bias, x, weight_t, out=out[:, columns])
        return out

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        return _joined([bias_gelu(torch.mm(x, weight_t), bias, activation) for weight_t, bias, _ in self._parts])

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        if len(self._parts) > 1:
            return residual_layer_norm(self(x), residual, norm.weight, norm.bias, norm.eps)
        [(weight_t, bias, _)] = self._parts
        return residual_layer_norm(torch.mm(x, weight_t), residual, norm.weight, norm.bias, norm.eps, bias)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)
