"""Dense layers by whoever is the fastest for a number of rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from bertfast.linear.blas import BlasLinear
from bertfast.linear.in_place import InPlaceLinear
from bertfast.linear.onednn import FusedLinear, OneDnnLinear
from bertfast.norm import Norm


class MixedLinear:
    """oneDNN for few rows, the BLAS for many, and for the very few that it treats as vectors.

    Between few and many, whole tiles of rows are fused; other numbers would be compiled one by one.
    """

    name = "onednn+blas"
    num_bytes = 0

    # From benchmarks/bench_linear.py: the most rows that are few. Where nothing has to be transposed in the end, more
    # are: from `activated` into the next product.
    _VECTORS = 3
    _FEW_ROWS = 64
    _FEW_ROWS_TO_NORM = 32
    _FEW_ROWS_TRANSPOSED = 192
    # Some hundred.
    _FUSED = range(96, 257, 16)
    # A smaller weight stays in a cache, where the BLAS is faster.
    _LARGE_WEIGHT = 2**19

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        self._few, self._fused = OneDnnLinear(weights, biases), FusedLinear(weights, biases)
        self._many = BlasLinear(weights, biases)
        # In bfloat16 the BLAS is oneDNN, too, and compiles code for a number of rows as well.
        self._many_are_fused = weights[0].dtype == torch.bfloat16
        # oneDNN would copy a left operand that does not lie in rows.
        self._suits_onednn = all(w.numel() >= self._LARGE_WEIGHT and w.is_contiguous() for w in weights)

    @property
    def dtype(self) -> torch.dtype:
        return self._many.dtype

    @property
    def activation(self) -> str | None:
        return _any_of(one.activation for one in (self._many, self._few, self._fused))

    @property
    def norm(self) -> str | None:
        return _any_of(one.norm for one in (self._many, self._few, self._fused))

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return self._choose(x, self._FEW_ROWS)(x, out)

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        return self._choose(x, self._FEW_ROWS_TRANSPOSED).activated(x, activation, out)

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        return self._choose(x, self._FEW_ROWS_TO_NORM).add_norm(x, residual, norm)

    def _choose(self, x: Tensor, few_rows: int) -> InPlaceLinear:
        rows = x.shape[0]
        if not self._suits_onednn or rows <= self._VECTORS:
            return self._many
        if _is_transposed(x):
            return self._few
        if rows <= few_rows and rows not in self._FUSED:
            return self._few
        return self._fused if self._many_are_fused or rows in self._FUSED else self._many


def _any_of(names: Iterable[str | None]) -> str:
    """In words, each once."""
    return " or ".join(dict.fromkeys(name for name in names if name))


def _is_transposed(x: Tensor) -> bool:
    return x.stride(0) == 1 and x.shape[0] > 1
