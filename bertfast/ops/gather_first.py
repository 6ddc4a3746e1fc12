"""``bertfast::gather_first``: the rows that stood in column 0, one per sequence: what poolers read."""

from __future__ import annotations

import torch
from torch import Tensor

from bertfast.ops._library import check_dtype, check_shape, register


def gather_first(x: Tensor, first_rows: Tensor) -> Tensor:
    """The rows ``first_rows`` of x. x: [T, H]; first_rows: [B] int64, of `unpad_input` -> [B, H], dtype of x.

    Raises ValueError for shapes and dtypes that do not fit. Where the values can be read without waiting for a
    device, on a CPU, it is also raised for rows that x does not have. On a device such a row gives zeros.
    """
    return torch.ops.bertfast.gather_first(x, first_rows)  # type: ignore[no-any-return]


def _check(x: Tensor, first_rows: Tensor) -> None:
    check_shape("x", x, "T", "H")
    check_shape("first_rows", first_rows, "B")
    check_dtype("first_rows", first_rows, torch.int64)


def _reference(x: Tensor, first_rows: Tensor) -> Tensor:
    outside = first_rows[(first_rows < 0) | (first_rows >= x.shape[0])]
    if outside.numel() > 0:
        raise ValueError(f"first_rows: expected rows below {x.shape[0]}, got {int(outside[0])}")
    return x.index_select(0, first_rows).contiguous()


def _fake(x: Tensor, first_rows: Tensor) -> Tensor:
    return x.new_empty((first_rows.shape[0], x.shape[1]))


register("gather_first(Tensor x, Tensor first_rows) -> Tensor", _reference, _fake, _check)
