"""How many rows a product is made of, where oneDNN compiles code for each number that it meets."""

from __future__ import annotations

from torch import Tensor

_TILE = 16
_STEPS = 8


def padded_rows(rows: int) -> int:
    """``rows`` filled up: by tiles, of which all are computed anyway, then in eight steps from one power of two to the
    next.

    Compiling a bfloat16 product takes longer than to compute it, and each one that is kept takes memory.
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
