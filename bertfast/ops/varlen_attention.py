"""``bertfast::varlen_attention``: bidirectional attention over sequences packed without padding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.ops._library import check_dtype, check_shape, register


def varlen_attention(
    qkv: Tensor, cu_seqlens: Tensor, key_lengths: Tensor | None, max_seqlen: int, scale: float
) -> Tensor:
    """Attention of each packed sequence over its own keys.

    qkv: [T, 3, N, D]; cu_seqlens: [B + 1] int32, the offsets of the sequences, from 0 to at most T; key_lengths: [B]
    int32 or None; max_seqlen: the longest sequence -> [T, N, D], dtype of qkv. The first ``key_lengths[b]`` rows of
    sequence ``b`` are queries and keys, its other rows queries only; None means that every row is a key. A query
    without any key gives 0, not NaN. Rows after the last sequence, of a buffer that is larger than the batch, are not
    read; what stands in their place in the result is not defined.

    Raises ValueError for shapes and dtypes that do not fit and for a scale that is not finite and above 0. Where the
    values can be read without waiting for a device, on a CPU, it is also raised for offsets that decrease or do not
    run from 0 to at most T, for key_lengths below 0 or above the rows of their sequence and for a max_seqlen below the
    longest sequence. On a device such values are the caller's fault: they lead to wrong rows, never to accesses
    outside of the tensors.
    """
    return torch.ops.bertfast.varlen_attention(  # type: ignore[no-any-return]
        qkv, cu_seqlens, key_lengths, max_seqlen, scale
    )


def equal_length_runs(
    num_tokens: int, cu_seqlens: Tensor, key_lengths: Tensor | None, max_seqlen: int | None = None
) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (first sequence, number of sequences, first row, rows, keys) of neighbours that have equal lengths.

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
            yield first, b - first, offsets[first], lengths[first], keys[first]
            first = b


def _shortened(values: list[int]) -> str:
    return str(values) if len(values) <= 8 else f"{values[:4]} ... {values[-3:]}"


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


def _check(qkv: Tensor, cu_seqlens: Tensor, key_lengths: Tensor | None, max_seqlen: int, scale: float) -> None:
    check_shape("qkv", qkv, "T", 3, "N", "D")
    check_varlen(qkv.shape[0], cu_seqlens, key_lengths)
    check_scale(scale)


def _reference(qkv: Tensor, cu_seqlens: Tensor, key_lengths: Tensor | None, max_seqlen: int, scale: float) -> Tensor:
    num_tokens, _, num_heads, head_size = qkv.shape
    pieces = []
    for _, count, row, length, keys in equal_length_runs(num_tokens, cu_seqlens, key_lengths, max_seqlen):
        run = qkv[row : row + count * length].view(count, length, 3, num_heads, head_size)
        if keys == 0:
            # A query without any key gives 0; softmax over nothing would give NaN.
            pieces.append(run.new_zeros((count * length, num_heads, head_size)))
            continue
        q, k, v = run.unbind(2)
        out = F.scaled_dot_product_attention(
            q.transpose(1, 2), k[:, :keys].transpose(1, 2), v[:, :keys].transpose(1, 2), scale=scale
        )
        pieces.append(out.transpose(1, 2).reshape(count * length, num_heads, head_size))
    spare = num_tokens - sum(map(len, pieces))
    if spare > 0:
        pieces.append(qkv.new_zeros((spare, num_heads, head_size)))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces) if pieces else qkv.new_empty(qkv[:, 0].shape)


def _fake(qkv: Tensor, cu_seqlens: Tensor, key_lengths: Tensor | None, max_seqlen: int, scale: float) -> Tensor:
    return qkv.new_empty((qkv.shape[0], qkv.shape[2], qkv.shape[3]))


register(
    "varlen_attention(Tensor qkv, Tensor cu_seqlens, Tensor? key_lengths, SymInt max_seqlen, float scale) -> Tensor",
    _reference,
    _fake,
    _check,
)
