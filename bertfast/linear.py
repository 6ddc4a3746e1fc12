"""Dense layers of the encoder, behind one interface that hides who multiplies the matrices.

This is where devices part ways: `select_linear` chooses a backend once, when the weights are prepared.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.ops import bias_gelu, residual_layer_norm

_CHOICES = ("auto", "blas", "onednn", "mixed", "portable")


@dataclass(frozen=True)
class Norm:
    """Parameters of a LayerNorm. weight, bias: [H]."""

    weight: Tensor
    bias: Tensor
    eps: float


class Linear(Protocol):
    """``y = x W^T + b`` and the two things an encoder does with ``y``. x: [T, K]; W: [M, K]; b: [M].

    W and b are given in parts, one under the other, as a model holds Q, K and V.
    """

    name: str
    copies_weight: bool

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None: ...

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """``y``: [T, M]. ``out`` offers memory for the result; a backend may ignore it."""

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        """Activation of ``y`` (``"erf"``, ``"tanh"`` or ``"relu"``, as in `bias_gelu`): [T, M]."""

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        """LayerNorm of ``y + residual``. residual: [T, M] -> [T, M]."""


class PortableLinear:
    """ATen and bertfast's own ops only: any device with kernels for them, traceable by compile and export."""

    name = "portable"
    copies_weight = False

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        self.parts = list(zip(weights, biases, strict=True))

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        results = [F.linear(x, weight, bias) for weight, bias in self.parts]
        return results[0] if len(results) == 1 else torch.cat(results, 1)

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        results = [bias_gelu(F.linear(x, weight), bias, activation) for weight, bias in self.parts]
        return results[0] if len(results) == 1 else torch.cat(results, 1)

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        return residual_layer_norm(self(x), residual, norm.weight, norm.bias, norm.eps)


class BlasLinear:
    """The BLAS that torch was built with (MKL on x86), into memory that the layers reuse.

    The weights are read where they are: no copy, so nothing can go stale. Large fresh outputs would cost page faults.
    """

    name = "blas"
    copies_weight = False

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        ends = list(accumulate(len(bias) for bias in biases))
        self._parts = [
            (weight.t(), bias, slice(end - len(bias), end))
            for weight, bias, end in zip(weights, biases, ends, strict=True)
        ]
        self._width = ends[-1]

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        if out is None:
            out = x.new_empty((x.shape[0], self._width))
        for weight_t, bias, columns in self._parts:
            torch.addmm(bias, x, weight_t, out=out[:, columns])
        return out

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        return _activate_(self(x, out), activation)

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        return residual_layer_norm(self(x), residual, norm.weight, norm.bias, norm.eps)


class OneDnnLinear:
    """oneDNN with weights reordered once, activation and residual fused into the product.

    It keeps a copy of its parts as one matrix in oneDNN's blocked layout, so its owner must watch for changes.
    """

    name = "onednn"
    copies_weight = True

    # oneDNN blocks the weight for an expected number of rows; 256 suits both short and long batches.
    _ROWS_HINT = 256

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        self.packed = torch.ops.mkldnn._reorder_linear_weight(torch.cat(tuple(weights)), self._ROWS_HINT)
        self.bias = torch.cat(tuple(biases))

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return self._run(x, "none", "")

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        if activation == "relu":
            return self._run(x, "relu", "")
        if not _has_avx512():
            # oneDNN's fused erf then costs half as much as the product itself (benchmarks/bench_linear.py).
            return _activate_(self(x), activation)
        return self._run(x, "gelu", "tanh" if activation == "tanh" else "none")

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        y = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.packed, self.bias, "add")
        return F.layer_norm(y, norm.weight.shape, norm.weight, norm.bias, norm.eps)

    def _run(self, x: Tensor, post_op: str, algorithm: str) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(  # type: ignore[no-any-return]
            x, self.packed, self.bias, post_op, [], algorithm
        )


class MixedLinear:
    """oneDNN's packed copy for few rows, where reading the weight is the work; the BLAS in place for many."""

    name = "onednn+blas"
    copies_weight = True

    # On AVX2, 32 rows are 12 % faster by oneDNN, 128 rows equal, 1024 rows 9 % faster by MKL (bench_encoder.py with
    # BERTFAST_CPU_LINEAR=onednn and =blas).
    _FEW_ROWS = 128

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        self._few, self._many = OneDnnLinear(weights, biases), BlasLinear(weights, biases)

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return self._for(x)(x, out)

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        return self._for(x).activated(x, activation, out)

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        return self._for(x).add_norm(x, residual, norm)

    def _for(self, x: Tensor) -> OneDnnLinear | BlasLinear:
        return self._few if x.shape[0] <= self._FEW_ROWS else self._many


def select_linear(device: torch.device, dtype: torch.dtype) -> type[Linear]:
    """The backend for weights of this device and dtype.

    ``BERTFAST_CPU_LINEAR`` = ``auto`` (default), ``blas``, ``onednn``, ``mixed`` or ``portable`` overrides the choice
    on a CPU; a dtype that oneDNN does not take runs on ``blas``. Raises ValueError for any other value.
    """
    choice = os.environ.get("BERTFAST_CPU_LINEAR", "auto")
    if choice not in _CHOICES:
        raise ValueError(f"BERTFAST_CPU_LINEAR={choice!r}: expected one of {', '.join(_CHOICES)}")
    if device.type != "cpu" or choice == "portable":
        return PortableLinear
    if choice == "blas" or not _onednn_takes(dtype):
        return BlasLinear
    # Chosen by instruction set, not by timing: the same machine must give the same bits on every run.
    if choice == "onednn" or (choice == "auto" and _has_avx512()):
        return OneDnnLinear
    return MixedLinear


def _onednn_takes(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def _has_avx512() -> bool:
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def _activate_(y: Tensor, activation: str) -> Tensor:
    """Apply the activation in place."""
    if activation == "relu":
        return y.relu_()
    torch.ops.aten.gelu_(y, approximate="tanh" if activation == "tanh" else "none")
    return y
