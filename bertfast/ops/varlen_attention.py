"""``bertfast::varlen_attention``: bidirectional attention over sequences packed without padding."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from bertfast.ops._attend import attend
from bertfast.ops._library import check_shape, register
from bertfast.ops.packed_layout import Run, check_scale, check_varlen, equal_length_runs


def varlen_attention(
    qkv: Tensor, cu_seqlens: Tensor, key_lengths: Tensor | None, max_seqlen: int, scale: float
) -> Tensor:
    """Attention of each packed sequence over its own keys.

    qkv: [T, 3, N, D]; cu_seqlens: [B + 1] int32, the offsets of the sequences, from 0 to at most T; key_lengths: [B]
    int32 or None; max_seqlen: the longest sequence -> [T, N, D], dtype of qkv. The first ``key_lengths[b]`` rows of
    sequence ``b`` are queries and keys, its other rows queries only; None means that every row is a key. A query
    without any key gives 0, not NaN; so does one whose scores are all -infinity, but for columns of v that hold
    infinity or NaN. Rows after the last sequence, of a buffer that is larger than the batch, are not read; what stands
    in their place in the result is not defined.

    Raises ValueError for shapes and dtypes that do not fit and for a scale that is not finite and above 0. Where the
    values can be read without waiting for a device, on a CPU, it is also raised for offsets that decrease or do not
    run from 0 to at most T, for key_lengths below 0 or above the rows of their sequence and for a max_seqlen below the
    longest sequence. On a device such values are the caller's fault: they lead to wrong rows, never to accesses
    outside of the tensors.
    """
    return torch.ops.bertfast.varlen_attention(  # type: ignore[no-any-return]
        qkv, cu_seqlens, key_lengths, max_seqlen, scale
    )


def _check(qkv: Tensor, cu_seqlens: Tensor, key_lengths: Tensor | None, max_seqlen: int, scale: float) -> None:
    check_shape("qkv", qkv, "T", 3, "N", "D")
    check_varlen(qkv.shape[0], cu_seqlens, key_lengths)
    check_scale(scale)


def _reference(qkv: Tensor, cu_seqlens: Tensor, key_lengths: Tensor | None, max_seqlen: int, scale: float) -> Tensor:
    return attend_runs(qkv, equal_length_runs(qkv.shape[0], cu_seqlens, key_lengths, max_seqlen), scale)


def attend_runs(qkv: Tensor, runs: Iterable[Run], scale: float) -> Tensor:
    """`varlen_attention` of a layout whose runs are known already, as many layers have one."""
    num_tokens, _, num_heads, head_size = qkv.shape
    pieces = []
    for _, count, row, length, keys in runs:
        run = qkv[row : row + count * length].view(count, length, 3, num_heads, head_size)
        if keys == 0:
            # A query without any key gives 0; softmax over nothing would give NaN.
            pieces.append(run.new_zeros((count * length, num_heads, head_size)))
            continue
        q, k, v = run.unbind(2)
        out = attend(q.transpose(1, 2), k[:, :keys].transpose(1, 2), v[:, :keys].transpose(1, 2), scale)
        pieces.append(out.transpose(1, 2).reshape(count * length, num_heads, head_size))
    spare = num_tokens - sum(map(len, pieces))
    if spare > 0:
        pieces.append(qkv.new_zeros((spare, num_heads, head_size)))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces) if pieces else qkv.new_empty(qkv[:, 0].shape)


def attend_apart(qkv: Tensor, runs: Iterable[Run], scale: float) -> Tensor:
    """`attend_runs`, each sequence by itself, and its keys' rows before the others: none depends on others."""
    num_tokens, _, num_heads, head_size = qkv.shape
    out = qkv.new_zeros((num_tokens, num_heads, head_size))
    for _, count, row, length, keys in runs:
        for first in range(row, row + count * length, length):
            q, k, v = qkv[first : first + length].transpose(0, 2).unbind(1)
            for queries in (slice(0, keys), slice(keys, length)):
                if keys > 0 and q[:, queries].numel() > 0:
                    attended = attend(q[None, :, queries], k[None, :, :keys], v[None, :, :keys], scale)
                    out[first : first + length][queries] = attended[0].transpose(0, 1)
    return out


def _fake(qkv: Tensor, cu_seqlens: Tensor, key_lengths: Tensor | None, max_seqlen: int, scale: float) -> Tensor:
    return qkv.new_empty((qkv.shape[0], qkv.shape[2], qkv.shape[3]))


register(
    "varlen_attention(Tensor qkv, Tensor cu_seqlens, Tensor? key_lengths, SymInt max_seqlen, float scale) -> Tensor",
    _reference,
    _fake,
    _check,
)
