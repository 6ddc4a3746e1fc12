"""What `bertfast.cpu_dense` is to compute, in float64: with operands rounded as the kernels round them."""

from __future__ import annotations

from dataclasses import dataclass

from ops.cases import activation_oracle, layer_norm_oracle
from torch import Tensor

from bertfast.norm import Norm

_SMALLEST_SCALE = 2.0**-120


def rounded_weight(weight: Tensor, precision: str) -> Tensor:
    """[M, K], float32 -> the numbers that are multiplied, in float64."""
    if precision == "bfloat16":
        return weight.bfloat16().double()
    scales = (weight.abs().amax(1, keepdim=True) / 127).clamp_min(_SMALLEST_SCALE)
    return (weight / scales).round().double() * scales.double()


def rounded_rows(x: Tensor, precision: str) -> Tensor:
    """[T, K], float32 or bfloat16 -> the numbers that are multiplied, in float64."""
    if precision == "bfloat16":
        return x.bfloat16().double()
    x = x.float()
    low, high = x.amin(1, keepdim=True).clamp_max(0), x.amax(1, keepdim=True).clamp_min(0)
    scales = (high / 255 - low / 255).clamp_min(_SMALLEST_SCALE)
    zeros = (-low / scales).round()
    # The kernel rounds a product and a sum once.
    codes = (x.double() * scales.reciprocal().double() + zeros.double()).float().round().clamp(0, 255)
    return (codes.double() - zeros.double()) * scales.double()


def dense(x: Tensor, weight: Tensor, bias: Tensor, precision: str) -> Tensor:
    """``x W^T + b``: [T, M], float64."""
    return rounded_rows(x, precision) @ rounded_weight(weight, precision).t() + bias.double()


@dataclass(frozen=True)
class Layer:
    """weight, bias: of a dense layer, float32."""

    weight: Tensor
    bias: Tensor
    norm: Norm | None = None

    def __call__(self, x: Tensor, precision: str, residual: Tensor) -> Tensor:
        """LayerNorm of the product and the residual: [T, M], float64."""
        assert self.norm is not None
        total = dense(x, self.weight, self.bias, precision) + residual
        return layer_norm_oracle(total, self.norm.weight, self.norm.bias, self.norm.eps)


def layer_tail(
    context: Tensor, x: Tensor, parts: tuple[Layer, Layer, Layer], activation: str, precision: str
) -> Tensor:
    """As `PackedTail`. parts: attention_output, intermediate, output -> [T, H], float64."""
    attention_output, intermediate, output = parts
    attended = attention_output(context, precision, x.double())
    inner = activation_oracle(dense(attended, intermediate.weight, intermediate.bias, precision), activation)
    # Either stores what was activated as bfloat16.
    return output(inner.bfloat16(), precision, attended)
