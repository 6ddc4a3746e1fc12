"""What the dense layers share that a CPU computes in the dtype of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast import cpu_kernels
from bertfast.linear.activation import activate_
from bertfast.norm import Norm


class InPlaceLinear:
    """What the backends on a CPU share: they read the weights where they are.

    No copy can go stale, and none doubles the memory. Results go into memory that the layers reuse: large fresh
    outputs would cost page faults.
    """

    num_bytes = 0

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        ends = list(accumulate(len(bias) for bias in biases))
        self._width = ends[-1]
        self._parts = [
            (weight, bias, slice(end - len(bias), end)) for weight, bias, end in zip(weights, biases, ends, strict=True)
        ]

    @property
    def dtype(self) -> torch.dtype:
        return self._parts[0][0].dtype

    @property
    def activation(self) -> str | None:
        return "PyTorch"

    @property
    def norm(self) -> str | None:
        return cpu_kernels.NAME if cpu_kernels.has_rows(self.dtype) else "PyTorch"

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        if out is None:
            out = x.new_empty((x.shape[0], self._width))
        self._multiply(x, out)
        return out

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        return activate_(self(x, out), activation)

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        # The sum is made in the memory of the product: another [T, M] would have to be written and read.
        y = self(x)
        if cpu_kernels.serves_rows(y, residual, norm.weight, norm.bias):
            return cpu_kernels.residual_layer_norm(y, residual, norm.weight, norm.bias, norm.eps, out=y)
        return F.layer_norm(y.add_(residual), norm.weight.shape, norm.weight, norm.bias, norm.eps)

    def _multiply(self, x: Tensor, out: Tensor) -> None:
        """Write ``y``. out: [T, M]."""
        raise NotImplementedError
