"""What the attention ops share: the checks of a packed layout, and its runs of sequences of one length."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from bertfast.ops._library import check_dtype, check_shape


class Run(NamedTuple):
    """Sequences of one length, side by side: number of the first, how many, first row; rows and keys of each."""

    first: int
    num_sequences: int
    row: int
    length: int
    keys: int


def check_varlen(num_tokens: int, cu_seqlens: Tensor, key_lengths: Tensor | None) -> None:
    """Check the shapes and dtypes of a packed layout; raises ValueError naming the argument."""
    check_shape("cu_seqlens", cu_seqlens, "B + 1")
    if cu_seqlens.shape[0] < 1:
        raise ValueError("cu_seqlens: expected at least 1 offset, got 0")
    if cu_seqlens.shape[0] == 1 and num_tokens > 0:
        raise ValueError(f"cu_seqlens: expected at least 2 offsets for {num_tokens} rows, got 1")
    check_dtype("cu_seqlens", cu_seqlens, torch.int32)
    if key_lengths is not None:
        check_shape("key_lengths", key_lengths, cu_seqlens.shape[0] - 1)
        check_dtype("key_lengths", key_lengths, torch.int32)


def check_scale(scale: float) -> None:
    """Check that the largest score is the largest before scaling, too."""
    if not 0 < scale < math.inf:
        raise ValueError(f"scale: expected a finite number above 0, got {scale:g}")


def equal_length_runs(
    num_tokens: int, cu_seqlens: Tensor, key_lengths: Tensor | None, max_seqlen: int | None = None
) -> Iterator[Run]:
    """Yield the runs of neighbours that have equal lengths.

    One batched call serves such a run; the packing orders the sequences by length to make the runs long. Raises
    ValueError for offsets that do not go from 0 up to at most the number of rows, for more keys than rows, and for a
    sequence longer than max_seqlen.
    """
    offsets = cu_seqlens.tolist()
    lengths = [end - start for start, end in pairwise(offsets)]
    keys = lengths if key_lengths is None else key_lengths.tolist()
    if offsets[0] != 0 or offsets[-1] > num_tokens or min(lengths, default=0) < 0:
        raise ValueError(
            f"cu_seqlens: expected offsets from 0 up to at most {num_tokens} rows, got {_shortened(offsets)}"
        )
    if any(not 0 <= k <= length for k, length in zip(keys, lengths, strict=True)):
        raise ValueError(f"key_lengths: expected at most {_shortened(lengths)} keys, got {_shortened(keys)}")
    longest = max(lengths, default=0)
    if max_seqlen is not None and longest > max_seqlen:
        raise ValueError(f"max_seqlen: expected at least {longest}, the longest sequence, got {max_seqlen}")
    first = 0
    for b in range(1, len(lengths) + 1):
        if b == len(lengths) or lengths[b] != lengths[first] or keys[b] != keys[first]:
            yield Run(first, b - first, offsets[first], lengths[first], keys[first])
            first = b


def _shortened(values: list[int]) -> str:
    return str(values) if len(values) <= 8 else f"{values[:4]} ... {values[-3:]}"
