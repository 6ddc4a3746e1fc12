"""How many rows a product is made of, where oneDNN compiles code for each number that it meets."""

from __future__ import annotations

from torch import Tensor

_TILE = 16
_STEPS = 8


def padded_rows(rows: int) -> int:
    """The number of rows to compute instead of ``rows``: one of few.

    Below 256 the next whole tile of 16, whose rows oneDNN computes anyway; above, the next of eight steps that lead
    from a power of two to the following one. Compiling a bfloat16 product takes longer than computing it, and every
    one that is kept takes memory.
    """
    step = max(_TILE, (1 << max(rows, 1).bit_length() - 1) // _STEPS)
    return -(-rows // step) * step


def filled_up(x: Tensor, rows: int) -> Tensor:
    """x: [T, K] -> [rows, K], zeros below."""
    if x.shape[0] == rows:
        return x
    filled = x.new_empty((rows, x.shape[1]))
    filled[: x.shape[0]] = x
    filled[x.shape[0] :] = 0
    return filled
