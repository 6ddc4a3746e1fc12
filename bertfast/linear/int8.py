"""Dense layers in int8 around a residual stream in float32: weights by output channel, activations by token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.linear.activation import activate_
from bertfast.norm import Norm
from bertfast.precision import onednn_lacks

_LARGEST = 127
_SMALLEST = 2.0**-120
_ZERO = 128
_ROUNDED_ZERO = torch.tensor(_ZERO + 0.5)


class Int8Linear:
    """oneDNN's products of int8 copies, symmetric: a scale for each row of W and, in each call, of x.

    Sums are int32. Bias, activation, residual and norm are float32; Q, K and V are bfloat16 where that is fast.
    """

    name = "onednn int8"
    activation: str | None = "PyTorch"
    norm: str | None = "PyTorch"

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        codes, scales = quantize_rows(torch.cat(tuple(weights)))
        weight = codes.to(torch.int16).sub_(_ZERO).to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(weight, None)
        self._scales = scales.reshape(-1)
        self._no_shift = torch.zeros(len(weight), dtype=torch.int32)
        self._bias = torch.cat(tuple(biases))
        # Attention computes in what it gets.
        self.dtype = torch.bfloat16 if onednn_lacks("bfloat16") is None else torch.float32
        self._bias_reduced = self._bias.to(self.dtype)
        kept = (weight, self._scales, self._no_shift, self._bias, self._bias_reduced)
        self.num_bytes = sum(tensor.nbytes for tensor in kept)

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        y, scales = self._multiply(x, self.dtype)
        return torch.addcmul(self._bias_reduced, y, scales.to(self.dtype), out=y)

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        return activate_(self._float32(x), activation)

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        return F.layer_norm(self._float32(x).add_(residual), norm.weight.shape, norm.weight, norm.bias, norm.eps)

    def _float32(self, x: Tensor) -> Tensor:
        y, scales = self._multiply(x, torch.float32)
        return torch.addcmul(self._bias, y, scales, out=y)

    def _multiply(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """``x W^T`` without the scales of x's rows, and these: [T, M], [T, 1]."""
        codes, scales = quantize_rows(x)
        y = torch.ops.onednn.qlinear_pointwise(
            codes, 1.0, _ZERO, self._weight, self._scales, self._no_shift, None, 1.0, 0, dtype, "none", [], ""
        )
        return y, scales


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """x: [T, K] -> codes, uint8 [T, K], and scales, float32 [T, 1]: ``(codes - 128) * scales`` is nearest to x.

    A row of zeros stays one; the scale of a row that holds infinity or NaN is NaN, and so are its products.
    """
    x = x.float()
    # No row is so small that its factor is infinite: zeros stay zeros.
    scales = x.abs().amax(1, keepdim=True).clamp_min_(_SMALLEST).mul_(1 / _LARGEST)
    # No code stands for infinity: a scale of it would have the sign of whatever the codes are. Infinity times 0 is NaN.
    scales.add_(scales, alpha=0)
    # To shift and to cut off is to round, in one pass less.
    return torch.addcmul(_ROUNDED_ZERO, x, scales.reciprocal()).to(torch.uint8), scales
