"""Dense layers on a CPU in the dtype of the weights, which they read where they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.linear.interface import Norm

#: Activation -> oneDNN's post-op and its algorithm.
POST_OPS = {"erf": ("gelu", "none"), "tanh": ("gelu", "tanh"), "relu": ("relu", "")}


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


class FusedLinear(_InPlaceLinear):
    """oneDNN with bias, activation and residual in the product's own epilogue: the fastest for some hundred rows.

    It rearranges the weight in every call, which more rows than these would not notice, and keeps compiled code for
    each number of rows that it meets.
    """

    name = "onednn fused"

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        parts = [self._product(x, weight, bias, *POST_OPS[activation]) for weight, bias, _ in self._parts]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        if len(self._parts) > 1:
            return super().add_norm(x, residual, norm)
        [(weight, bias, _)] = self._parts
        total = torch.ops.mkldnn._linear_pointwise.binary(x, residual, weight, bias, "add")
        return F.layer_norm(total, norm.weight.shape, norm.weight, norm.bias, norm.eps)

    def _multiply(self, x: Tensor, out: Tensor) -> None:
        for weight, bias, columns in self._parts:
            out[:, columns] = self._product(x, weight, bias, "none", "")

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor, post_op: str, algorithm: str) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, post_op, [], algorithm)  # type: ignore[no-any-return]


class MixedLinear:
    """oneDNN for few rows, the BLAS for many, and for the very few that it treats as vectors.

    Between few and many, whole tiles of rows are fused; other numbers would be compiled one by one.
    """

    name = "onednn+blas"
    own_ops = False
    num_bytes = 0

    # From benchmarks/bench_linear.py: the most rows that are few. Where nothing has to be transposed in the end, more
    # are: from `activated` into the next product.
    _VECTORS = 3
    _FEW_ROWS = 64
    _FEW_ROWS_TO_NORM = 32
    _FEW_ROWS_TRANSPOSED = 192
    # Some hundred. In bfloat16 any number: the encoder fills up its rows, and the BLAS is oneDNN, too.
    _FUSED = range(96, 257, 16)
    _FUSED_BFLOAT16 = range(33, 2**63 - 1)
    # A smaller weight stays in a cache, where the BLAS is faster.
    _LARGE_WEIGHT = 2**19

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        self._few, self._fused = OneDnnLinear(weights, biases), FusedLinear(weights, biases)
        self._many = BlasLinear(weights, biases)
        self._fused_rows = self._FUSED_BFLOAT16 if weights[0].dtype == torch.bfloat16 else self._FUSED
        # oneDNN would copy a left operand that does not lie in rows.
        self._suits_onednn = all(w.numel() >= self._LARGE_WEIGHT and w.is_contiguous() for w in weights)

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return self._choose(x, self._FEW_ROWS)(x, out)

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        return self._choose(x, self._FEW_ROWS_TRANSPOSED).activated(x, activation, out)

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        return self._choose(x, self._FEW_ROWS_TO_NORM).add_norm(x, residual, norm)

    def _choose(self, x: Tensor, few_rows: int) -> _InPlaceLinear:
        rows = x.shape[0]
        if not self._suits_onednn or rows <= self._VECTORS:
            return self._many
        if _is_transposed(x):
            return self._few
        if rows in self._fused_rows:
            return self._fused
        return self._few if rows <= few_rows else self._many


def _filled_up(x_t: Tensor) -> Tensor:
    """x_t: [K, T], with zeros up to whole vectors: as fast, and oneDNN keeps compiled code for each T it meets."""
    rows, lanes = x_t.shape[1], _vector_lanes()
    filled = x_t.new_empty((x_t.shape[0], -(-rows // lanes) * lanes))
    filled[:, :rows] = x_t
    filled[:, rows:] = 0
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
