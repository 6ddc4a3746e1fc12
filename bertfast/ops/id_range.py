"""What is said of ids that lie outside of their tables, as csrc/kernels/id_range.h says it."""

from __future__ import annotations

import torch
from torch import Tensor

WORD_ID_OUT_OF_RANGE = 1
TOKEN_TYPE_ID_OUT_OF_RANGE = 2
POSITION_ID_OUT_OF_RANGE = 4

#: The bit of each argument's table.
OUT_OF_RANGE_BITS = {
    "input_ids": WORD_ID_OUT_OF_RANGE,
    "token_type_ids": TOKEN_TYPE_ID_OUT_OF_RANGE,
    "position_ids": POSITION_ID_OUT_OF_RANGE,
}


def is_out_of_range(ids: Tensor, num_rows: int) -> bool:
    """Whether any of the ids is no row of a table of ``num_rows``."""
    ids = comparable(ids, num_rows)
    return bool(((ids < 0) | (ids >= num_rows)).any())


def comparable(ids: Tensor, number: int) -> Tensor:
    """The ids, in int64 where their own dtype does not hold ``number``: PyTorch would wrap it around."""
    limits = torch.iinfo(ids.dtype)
    return ids if limits.min <= number <= limits.max else ids.to(torch.int64)
