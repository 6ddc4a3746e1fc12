"""Dense layers of bertfast's own CPU kernels, in bfloat16 and int8, around a residual stream in float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bertfast.cpu_dense import PackedDense, PackedTail
from bertfast.cpu_kernels import NAME, has_attention, residual_layer_norm
from bertfast.linear.activation import activate_
from bertfast.linear.interface import Linear
from bertfast.norm import Norm
from bertfast.precision import onednn_lacks


def _attends_in_bfloat16() -> bool:
    """Whether attention is fast in it: by a kernel, or by oneDNN, which PyTorch's attention multiplies by."""
    return has_attention(torch.bfloat16) or onednn_lacks("bfloat16") is None


class NativeLinear:
    """Copies of the weight in one of the kernels' precisions; products leave as what attention computes fastest.

    The encoder runs what follows attention by `NativeTail`; by themselves, `activated` and `add_norm` are passes over a
    float32 product.
    """

    name: str
    precision: str
    activation: str | None = NAME
    norm: str | None = NAME

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        self.packed = PackedDense(torch.cat(tuple(weights)), torch.cat(tuple(biases)), self.precision)
        self.num_bytes = self.packed.num_bytes
        self.dtype = torch.bfloat16 if _attends_in_bfloat16() else torch.float32

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return self.packed(x, self.dtype)

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        return activate_(self.packed(x, torch.float32), activation)

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        y = self.packed(x, torch.float32)
        return residual_layer_norm(
            y, residual.contiguous(), norm.weight.contiguous(), norm.bias.contiguous(), norm.eps, out=y
        )


class NativeBFloat16Linear(NativeLinear):
    """In bfloat16."""

    name = "bertfast bfloat16"
    precision = "bfloat16"


class NativeInt8Linear(NativeLinear):
    """In int8: weights by output channel, activations by token."""

    name = "bertfast int8"
    precision = "int8"


class NativeTail:
    """`bertfast.linear.Tail` as one kernel."""

    def __init__(
        self,
        attention_output: NativeLinear,
        attention_norm: Norm,
        intermediate: NativeLinear,
        activation: str,
        output: NativeLinear,
        output_norm: Norm,
    ) -> None:
        self._packed = PackedTail(attention_output.packed, intermediate.packed, activation, output.packed)
        self._norms = attention_norm, output_norm

    def __call__(self, context: Tensor, x: Tensor) -> Tensor:
        return self._packed(context, x, *self._norms)


def fuse_tail(
    attention_output: Linear,
    attention_norm: Norm,
    intermediate: Linear,
    activation: str,
    output: Linear,
    output_norm: Norm,
) -> NativeTail | None:
    """All that a post-LN layer does after attention in one kernel; None if these layers have none."""
    if (
        isinstance(attention_output, NativeLinear)
        and isinstance(intermediate, NativeLinear)
        and isinstance(output, NativeLinear)
    ):
        return NativeTail(attention_output, attention_norm, intermediate, activation, output, output_norm)
    return None
