"""Dense layers by the BLAS."""

from __future__ import annotations

import torch
from torch import Tensor

from bertfast import cpu_kernels
from bertfast.linear.activation import activate_
from bertfast.linear.in_place import InPlaceLinear


class BlasLinear(InPlaceLinear):
    """The BLAS that torch was built with (MKL on x86): the fastest for many rows."""

    name = "blas"

    @property
    def activation(self) -> str | None:
        return cpu_kernels.NAME if cpu_kernels.has_rows(self.dtype) else "PyTorch"

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        if len(self._parts) > 1:
            return super().activated(x, activation, out)
        [(weight, bias, _)] = self._parts
        y = torch.mm(x, weight.t(), out=out)
        if cpu_kernels.serves_rows(y, bias):
            return cpu_kernels.bias_gelu(y, bias, activation, out=y)
        return activate_(y.add_(bias), activation)

    def _multiply(self, x: Tensor, out: Tensor) -> None:
        for weight, bias, columns in self._parts:
            # `addmm` would first fill the result with the bias.
            torch.mm(x, weight.t(), out=out[:, columns]).add_(bias)
