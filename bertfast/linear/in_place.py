"""Dense layers on a CPU in the dtype of the weights, which they read where they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.linear.interface import Norm


class _InPlaceLinear:
    """What the backends on a CPU share: they read the weights where they are.

    No copy can go stale, and none doubles the memory. Results go into memory that the layers reuse: large fresh
    outputs would cost page faults.
    """

    own_ops = False
    num_bytes = 0

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        ends = list(accumulate(len(bias) for bias in biases))
        self._width = ends[-1]
        self._parts = [
            (weight, bias, slice(end - len(bias), end)) for weight, bias, end in zip(weights, biases, ends, strict=True)
        ]

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        if out is None:
            out = x.new_empty((x.shape[0], self._width))
        self._multiply(x, out)
        return out

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        return _activate_(self(x, out), activation)

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        # The sum is made in the memory of the product: another [T, M] would have to be written and read.
        return F.layer_norm(self(x).add_(residual), norm.weight.shape, norm.weight, norm.bias, norm.eps)

    def _multiply(self, x: Tensor, out: Tensor) -> None:
        """Write ``y``. out: [T, M]."""
        raise NotImplementedError


class BlasLinear(_InPlaceLinear):
    """The BLAS that torch was built with (MKL on x86): the fastest for many rows."""

    name = "blas"

    def _multiply(self, x: Tensor, out: Tensor) -> None:
        for weight, bias, columns in self._parts:
            # `addmm` would first fill the result with the bias.
            torch.mm(x, weight.t(), out=out[:, columns]).add_(bias)


class OneDnnLinear(_InPlaceLinear):
    """oneDNN with the operands in exchanged roles: ``y^T = W x^T``, the fastest for few rows.

    Few rows leave a product no time but to read the weight. As the left operand it is streamed through once, as it
    lies in memory; as the right operand, its usual place, every call would rearrange it first, or keep a copy of it.
    """

    name = "onednn"

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        # Activated before it is transposed, and transposed as a view: the next product wants it like that.
        parts = [y_t.add_(bias.unsqueeze(1)) for y_t, (_, bias, _) in zip(self._products(x), self._parts, strict=True)]
        return _activate_(parts[0] if len(parts) == 1 else torch.cat(parts), activation).t()

    def _multiply(self, x: Tensor, out: Tensor) -> None:
        for y_t, (_, bias, columns) in zip(self._products(x), self._parts, strict=True):
            torch.add(y_t.t(), bias, out=out[:, columns])

    def _products(self, x: Tensor) -> list[Tensor]:
        """``W x^T`` of each part: [columns of the part, T]."""
        # With x^T in one piece the product is faster, its small transposition included.
        rows, x_t = x.shape[0], _filled_up(x.t()) if x.shape[0] > _vector_lanes() else x.t().contiguous()
        return [
            torch.ops.mkldnn._linear_pointwise(weight, x_t.t(), None, "none", [], "")[:, :rows]
            for weight, _, _ in self._parts
        ]


class MixedLinear:
    """oneDNN for few rows, the BLAS for many, and for the very few that it treats as vectors."""

    name = "onednn+blas"
    own_ops = False
    num_bytes = 0
    copies_weights = False

    # From benchmarks/bench_linear.py. Where nothing has to be transposed in the end, more rows are few: from
    # `activated` into the next product.
    _VECTORS = 3
    _FEW_ROWS = 96
    _FEW_ROWS_TRANSPOSED = 192
    # A smaller weight stays in a cache, where the BLAS is faster.
    _LARGE_WEIGHT = 2**19

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        self._few, self._many = OneDnnLinear(weights, biases), BlasLinear(weights, biases)
        # oneDNN would copy a left operand that does not lie in rows.
        self._suits_few = all(w.numel() >= self._LARGE_WEIGHT and w.is_contiguous() for w in weights)

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return self._choose(x, _is_transposed(x))(x, out)

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        return self._choose(x, True).activated(x, activation, out)

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        return self._choose(x, _is_transposed(x)).add_norm(x, residual, norm)

    def _choose(self, x: Tensor, transposed: bool) -> OneDnnLinear | BlasLinear:
        few_rows = self._FEW_ROWS_TRANSPOSED if transposed else self._FEW_ROWS
        return self._few if self._suits_few and self._VECTORS < x.shape[0] <= few_rows else self._many


def _filled_up(x_t: Tensor) -> Tensor:
    """x_t: [K, T], with zeros up to whole vectors: as fast, and oneDNN keeps compiled code for each T it meets."""
    rows, lanes = x_t.shape[1], _vector_lanes()
    filled = x_t.new_zeros((x_t.shape[0], -(-rows // lanes) * lanes))
    filled[:, :rows] = x_t
    return filled


@cache
def _vector_lanes() -> int:
    """float32 values in one vector register."""
    return 16 if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else 8


def _is_transposed(x: Tensor) -> bool:
    return x.stride(0) == 1 and x.shape[0] > 1


def _activate_(y: Tensor, activation: str) -> Tensor:
    """Apply the activation in place."""
    if activation == "relu":
        return y.relu_()
    torch.ops.aten.gelu_(y, approximate={"erf": "none", "tanh": "tanh"}[activation])
    return y
