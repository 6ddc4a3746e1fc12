"""Dense layers in bfloat16 around a residual stream in float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.linear.activation import NO_POST_OP, POST_OPS, activate_
from bertfast.norm import Norm


class BFloat16Linear:
    """oneDNN's products of a bfloat16 copy of the weight, laid out as it likes it best.

    x may be float32 or bfloat16; products are bfloat16, summed in float32, with bias and activation applied before they
    are rounded. Sums with the residual and norms are float32.
    """

    name = "onednn bfloat16"
    activation: str | None = "oneDNN"
    norm: str | None = "PyTorch"
    dtype = torch.bfloat16

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        weight = torch.cat([w.to(torch.bfloat16) for w in weights])
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        self._bias = torch.cat(tuple(biases))
        self.num_bytes = weight.nbytes + self._bias.nbytes

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return self._multiply(x, *NO_POST_OP)

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        post_op = POST_OPS.get(activation)
        y = self._multiply(x, *(post_op or NO_POST_OP))
        return y if post_op else activate_(y, activation)

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        total = self._multiply(x, *NO_POST_OP).to(residual.dtype).add_(residual)
        return F.layer_norm(total, norm.weight.shape, norm.weight, norm.bias, norm.eps)

    def _multiply(self, x: Tensor, post_op: str, algorithm: str) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(torch.bfloat16), self._weight, self._bias, post_op, [], algorithm
        )
        return y
