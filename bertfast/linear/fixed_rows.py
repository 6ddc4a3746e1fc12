"""Dense layers whose rows are computed by one and the same routine, however many there are: ``invariant=True``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.errors import InvarianceError
from bertfast.linear.activation import activate_
from bertfast.linear.bfloat16 import BFloat16Linear
from bertfast.linear.blas import BlasLinear
from bertfast.linear.interface import Linear
from bertfast.linear.onednn import FusedLinear
from bertfast.linear.portable import PortableLinear
from bertfast.linear.rows import filled_up
from bertfast.norm import Norm

#: Rows of a block. Libraries choose how they add up by the number of rows: here it is always this one.
BLOCK_ROWS = 64
# Elements that torch leaves to one thread, in whole vectors. What is left over after these, at the end of a thread's
# share, is computed by functions for scalars, which give other bits.
_PIECE, _VECTORS = 2**15, 64


class FixedRowsLinear:
    """Another `Linear`, asked for blocks of `BLOCK_ROWS` rows only, the last one filled up by zeros."""

    inner: type[Linear]
    name: str

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        self._inner = self.inner(weights, biases)
        self._width = sum(map(len, biases))
        self.num_bytes = self._inner.num_bytes

    @property
    def dtype(self) -> torch.dtype:
        return self._inner.dtype

    @property
    def activation(self) -> str | None:
        return self._inner.activation

    @property
    def norm(self) -> str | None:
        return self._inner.norm

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return in_blocks(self._inner, x, out=out)

    def activated(self, x: Tensor, activation: str, out: Tensor | None = None) -> Tensor:
        return in_blocks(lambda block: self._activated(block, activation), x, out=out)

    def add_norm(self, x: Tensor, residual: Tensor, norm: Norm) -> Tensor:
        return in_blocks(lambda block, added: self._inner.add_norm(block, added, norm), x, residual)

    def _activated(self, block: Tensor, activation: str) -> Tensor:
        return self._inner.activated(block, activation)


class FixedRowsOneDnn(FixedRowsLinear):
    """oneDNN, which activates in the product's epilogue."""

    inner = FusedLinear
    name = "onednn, blocks of rows"


class FixedRowsBlas(FixedRowsLinear):
    """The BLAS."""

    inner = BlasLinear
    name = "blas, blocks of rows"

    def _activated(self, block: Tensor, activation: str) -> Tensor:
        return in_pieces(lambda piece: activate_(piece, activation), self._inner(block))


class FixedRowsBFloat16(FixedRowsLinear):
    """oneDNN's products of bfloat16 copies."""

    inner = BFloat16Linear
    name = "onednn bfloat16, blocks of rows"


class FixedRowsPortable(FixedRowsLinear):
    """ATen's products and bertfast's own ops, for a GPU: its kernels compute each row by itself."""

    inner = PortableLinear
    name = "portable, blocks of rows"


def in_blocks(run: Callable[..., Tensor], *inputs: Tensor, out: Tensor | None = None) -> Tensor:
    """``run`` of each block of rows of the inputs. inputs: [T, ...] -> [T, M]. run: [BLOCK_ROWS, ...] each -> as many.

    out: memory for the result.
    """
    rows = inputs[0].shape[0]
    if out is None and torch.is_grad_enabled():
        parts = [
            run(*(filled_up(t[first : first + BLOCK_ROWS], BLOCK_ROWS) for t in inputs))
            for first in range(0, max(rows, 1), BLOCK_ROWS)
        ]
        return torch.cat(parts)[:rows]
    for first in range(0, max(rows, 1), BLOCK_ROWS):
        part = run(*(filled_up(t[first : first + BLOCK_ROWS], BLOCK_ROWS) for t in inputs))
        if out is None:
            out = part.new_empty((rows, *part.shape[1:]))
        kept = out[first : first + BLOCK_ROWS]
        kept.copy_(part[: len(kept)])
    assert out is not None
    return out


def in_pieces(run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """An elementwise ``run`` of x, each element of which is computed as any other is. run may write to its input."""
    flat = x.reshape(-1)
    size = flat.numel()
    flat = F.pad(flat, (0, -size % _VECTORS))
    return torch.cat([run(piece) for piece in flat.split(_PIECE)])[:size].reshape(x.shape)


def is_one_row(y: Tensor) -> bool:
    """Whether all rows are equal, NaN too."""
    return torch.allclose(y, y[:1].expand_as(y), rtol=0, atol=0, equal_nan=True)


def check_rows_alike(linear: Linear, width: int, activation: str | None, norm: Norm | None, like: Tensor) -> None:
    """Raise InvarianceError unless ``linear`` gives equal rows equal bits, wherever they stand.

    How a library adds up does not depend on the values, so random ones tell. width: K. activation, norm: of `Linear`,
    tried where they are given. like: a tensor of the dtype and the device of the activations.
    """
    generator = torch.Generator().manual_seed(0)

    def alike(columns: int) -> Tensor:
        row = torch.randn(columns, generator=generator).to(like)
        return row.expand(BLOCK_ROWS, columns).contiguous()

    x = alike(width)
    results = [linear(x)]
    results.append(linear(x[: BLOCK_ROWS // 2 + 1]))
    if activation is not None:
        results.append(linear.activated(x, activation))
    if norm is not None:
        results.append(linear.add_norm(x, alike(norm.weight.shape[0]), norm))
    if all(map(is_one_row, results)) and is_one_row(torch.cat([y[:1] for y in results[:2]])):
        return
    raise InvarianceError(
        f"invariant=True: {linear.name} on {like.device} gives equal rows of a block of {BLOCK_ROWS} different bits; "
        "it cannot be had here: leave invariant out, or run the model on another device"
    )
