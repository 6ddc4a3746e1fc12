"""``bertfast::pad_input``: packed rows laid back into the padded batch, zeros elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from bertfast.ops._library import check_dtype, check_shape, register


def pad_input(x: Tensor, indices: Tensor, num_tokens: Tensor | None = None) -> Tensor:
    """Row ``i`` of x at position ``indices[i]``, zeros at the positions of the indices without a row.

    x: [R, H]; indices: [P] int64, every position of the flattened batch once, as `unpad_input` gives them;
    num_tokens: [1] int32, such as ``cu_seqlens[-1:]``, or None -> [P, H], dtype of x, every row of it written.

    The first num_tokens rows of x are laid back; None: all of them, and there may not be more than indices. Rows
    after those, of a buffer that is larger than the batch, are not read.

    Raises ValueError for shapes and dtypes that do not fit. Where the values can be read without waiting for a
    device, on a CPU, it is also raised for indices that are not every position once. On a device such indices are
    the caller's fault: they leave rows unwritten, but nothing outside of the result is written.
    """
    return torch.ops.bertfast.pad_input(x, indices, num_tokens)  # type: ignore[no-any-return]


def _check(x: Tensor, indices: Tensor, num_tokens: Tensor | None = None) -> None:
    check_shape("x", x, "R", "H")
    check_shape("indices", indices, "P")
    check_dtype("indices", indices, torch.int64)
    if num_tokens is not None:
        check_shape("num_tokens", num_tokens, 1)
        check_dtype("num_tokens", num_tokens, torch.int32)
    elif x.shape[0] > indices.shape[0]:
        raise ValueError(f"x: expected at most {indices.shape[0]} rows, one for each of indices, got {x.shape[0]}")


def _reference(x: Tensor, indices: Tensor, num_tokens: Tensor | None = None) -> Tensor:
    num_positions = indices.shape[0]
    _check_permutation(indices)
    rows = min(x.shape[0], num_positions)
    if num_tokens is not None:
        rows = max(0, min(rows, int(num_tokens)))
    out = x.new_empty((num_positions, x.shape[1]))
    out.index_copy_(0, indices[:rows], x[:rows])
    return out.index_fill_(0, indices[rows:], 0)


def _check_permutation(indices: Tensor) -> None:
    num_positions = indices.shape[0]
    inside = indices[(indices >= 0) & (indices < num_positions)]
    seen = torch.zeros(num_positions, dtype=torch.bool, device=indices.device)
    seen[inside] = True
    if not seen.all():
        missing = int((~seen).nonzero()[0])
        raise ValueError(f"indices: expected every position below {num_positions} once, got none that is {missing}")


def _fake(x: Tensor, indices: Tensor, num_tokens: Tensor | None = None) -> Tensor:
    return x.new_empty((indices.shape[0], x.shape[1]))


register("pad_input(Tensor x, Tensor indices, Tensor? num_tokens=None) -> Tensor", _reference, _fake, _check)
