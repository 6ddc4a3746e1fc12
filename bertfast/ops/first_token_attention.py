"""``bertfast::first_token_attention``: one query per sequence, for the last layer of a head that reads one token."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from bertfast.ops._attend import attend
from bertfast.ops._library import check_dtype, check_shape, register
from bertfast.ops.packed_layout import Run, check_scale, check_varlen, equal_length_runs


def first_token_attention(
    query: Tensor, key_value: Tensor, cu_seqlens: Tensor, key_lengths: Tensor | None, scale: float
) -> Tensor:
    """Attention of one query per packed sequence over that sequence's keys.

    query: [B, N, D]; key_value: [T, 2, N, D]; cu_seqlens: [B + 1] int32; key_lengths: [B] int32 or None
    -> [B, N, D], dtype of query. Keys as in ``varlen_attention``, which also says what raises ValueError.
    """
    return torch.ops.bertfast.first_token_attention(  # type: ignore[no-any-return]
        query, key_value, cu_seqlens, key_lengths, scale
    )


def _check(query: Tensor, key_value: Tensor, cu_seqlens: Tensor, key_lengths: Tensor | None, scale: float) -> None:
    check_shape("query", query, "B", "N", "D")
    check_shape("key_value", key_value, "T", 2, *query.shape[1:])
    check_dtype("key_value", key_value, query.dtype)
    check_varlen(key_value.shape[0], cu_seqlens, key_lengths)
    check_shape("cu_seqlens", cu_seqlens, query.shape[0] + 1)
    check_scale(scale)


def _reference(
    query: Tensor, key_value: Tensor, cu_seqlens: Tensor, key_lengths: Tensor | None, scale: float
) -> Tensor:
    _, num_heads, head_size = query.shape
    out = query.new_zeros(query.shape)
    for first, count, row, length, keys in equal_length_runs(key_value.shape[0], cu_seqlens, key_lengths):
        if keys == 0:
            continue
        run = key_value[row : row + count * length].view(count, length, 2, num_heads, head_size)
        k, v = run[:, :keys].unbind(2)
        q = query[first : first + count].unsqueeze(2)
        attended = attend(q, k.transpose(1, 2), v.transpose(1, 2), scale)
        out[first : first + count] = attended.squeeze(2)
    return out


def attend_first_apart(query: Tensor, key_value: Tensor, runs: Iterable[Run], scale: float) -> Tensor:
    """`first_token_attention` of a layout whose runs are known, each sequence by itself: none depends on the others."""
    out = query.new_zeros(query.shape)
    for first, count, row, length, keys in runs:
        for b in range(count if keys > 0 else 0):
            k, v = key_value[row + b * length :][:keys].transpose(0, 2).unbind(1)
            q = query[first + b].unsqueeze(1)
            out[first + b] = attend(q[None], k[None], v[None], scale)[0, :, 0]
    return out


def _fake(query: Tensor, key_value: Tensor, cu_seqlens: Tensor, key_lengths: Tensor | None, scale: float) -> Tensor:
    return query.new_empty(query.shape)


register(
    "first_token_attention(Tensor query, Tensor key_value, Tensor cu_seqlens, Tensor? key_lengths, float scale)"
    " -> Tensor",
    _reference,
    _fake,
    _check,
)
