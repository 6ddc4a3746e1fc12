"""Dense layers by oneDNN, which reads the weights where they are: two ways to ask it."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.linear.activation import NO_POST_OP, POST_OPS, activate_
from bertfast.linear.in_place import InPlaceLinear
from bertfast.norm import Norm


class OneDnnLinear(InPlaceLinear):
    """oneDNN with the operands in exchanged roles: ``y^T = W x^T``, the fastest for few rows.

    Few rows leave a product no time but to read the weight. As the left operand it is streamed through once, as it
    lies in memory; as the right operand, its usual place, every call would rearrange it first, or keep a copy of it.
    """

    name = "onednn"

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        # Activated before it is transposed, and transposed as a view: the next product wants it like that.
        parts = [y_t.add_(bias.unsqueeze(1)) for y_t, (_, bias, _) in zip(self._products(x), self._parts, strict=True)]
        return activate_(parts[0] if len(parts) == 1 else torch.cat(parts), activation).t()

    def _multiply(self, x: Tensor, out: Tensor) -> None:
        for y_t, (_, bias, columns) in zip(self._products(x), self._parts, strict=True):
            torch.add(y_t.t(), bias, out=out[:, columns])

    def _products(self, x: Tensor) -> list[Tensor]:
        """``W x^T`` of each part: [columns of the part, T]."""
        # With x^T in one piece the product is faster, its small transposition included.
        rows, x_t = x.shape[0], _with_whole_vectors(x.t()) if x.shape[0] > _vector_lanes() else x.t().contiguous()
        return [
            torch.ops.mkldnn._linear_pointwise(weight, x_t.t(), None, "none", [], "")[:, :rows]
            for weight, _, _ in self._parts
        ]


class FusedLinear(InPlaceLinear):
    """oneDNN with bias, activation and residual in the product's own epilogue: the fastest for some hundred rows.

    It rearranges the weight in every call, which more rows than these would not notice, and keeps compiled code for
    each number of rows that it meets.
    """

    name = "onednn fused"

    @property
    def activation(self) -> str | None:
        return "oneDNN"

    @property
    def norm(self) -> str | None:
        return "PyTorch"

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        post_op = POST_OPS.get(activation)
        parts = [self._product(x, weight, bias, *(post_op or NO_POST_OP)) for weight, bias, _ in self._parts]
        y = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return y if post_op else activate_(y, activation)

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        if len(self._parts) > 1:
            return super().add_norm(x, residual, norm)
        [(weight, bias, _)] = self._parts
        total = torch.ops.mkldnn._linear_pointwise.binary(x, residual, weight, bias, "add")
        return F.layer_norm(total, norm.weight.shape, norm.weight, norm.bias, norm.eps)

    def _multiply(self, x: Tensor, out: Tensor) -> None:
        for weight, bias, columns in self._parts:
            out[:, columns] = self._product(x, weight, bias, *NO_POST_OP)

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor, post_op: str, algorithm: str) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, post_op, [], algorithm)  # type: ignore[no-any-return]


def _with_whole_vectors(x_t: Tensor) -> Tensor:
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
