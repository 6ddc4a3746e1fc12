"""Padding is removed here, once, before the first layer, and put back here, once, after the last."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bertfast.ops.unpad_input import place_positions


@dataclass(frozen=True)
class PackedBatch:
    """Which padded positions are computed, and where they stand in the packed ``[T, H]`` layout.

    A sequence's keys come first in its rows; positions that are computed although the mask hides them follow as
    queries that are no keys. Sequences are ordered by length where that makes neighbours equal.

    indices: [T] int64, each row's position in the flattened [B * S], or None where both layouts are the same.
    cu_seqlens: [B + 1] int32, first row of each packed sequence, and T. key_lengths: [B] int32, None if all rows
    are keys. first_rows: [B] int64, the row of column 0 of each packed sequence. order: [B] int64, the batch row
    of each packed sequence, or None where the order was kept. num_keys: keys of all sequences; fewest_keys: the
    smallest number of keys of a sequence.
    """

    batch_size: int
    padded_len: int
    num_tokens: int
    num_keys: int
    max_seqlen: int
    fewest_keys: int
    indices: Tensor | None
    cu_seqlens: Tensor
    key_lengths: Tensor | None
    first_rows: Tensor
    order: Tensor | None

    def gather(self, padded: Tensor) -> Tensor:
        """Pick the computed positions. padded: [B, S] -> [T]."""
        flat = padded.reshape(-1)
        return flat if self.indices is None else flat[self.indices]

    def columns(self) -> Tensor:
        """The column each row stood in: [T] int64; BERT's default position ids."""
        if self.indices is None:
            column = torch.arange(self.padded_len, device=self.cu_seqlens.device)
            return column.repeat(self.batch_size)
        return self.indices % self.padded_len

    def scatter(self, packed: Tensor) -> Tensor:
        """Lay rows back. packed: [T, H] -> [B, S, H]; positions that were not computed hold zeros."""
        hidden_size = packed.shape[1]
        if self.indices is not None:
            size = (self.batch_size * self.padded_len, hidden_size)
            complete = self.num_tokens == size[0]
            padded = packed.new_empty(size) if complete else packed.new_zeros(size)
            packed = padded.index_copy_(0, self.indices, packed)
        # To autograd no view: an output of a Function that is one could not be edited in place, as stock's can.
        shape = (self.batch_size, self.padded_len, hidden_size)
        return torch.ops.aten._unsafe_view(packed, shape)  # type: ignore[no-any-return]

    def scatter_first(self, first: Tensor) -> Tensor:
        """Put one row per packed sequence in batch order. first: [B, H] -> [B, 1, H]."""
        if self.order is not None:
            first = torch.empty_like(first).index_copy_(0, self.order, first)
        return first.unsqueeze(1)


def pack_dense(batch_size: int, padded_len: int, device: torch.device) -> PackedBatch:
    """The layout of a batch without padding: every position is computed and is a key."""
    num_tokens = batch_size * padded_len
    first_rows = torch.arange(0, num_tokens, padded_len, device=device)
    cu_seqlens = torch.arange(0, num_tokens + 1, padded_len, dtype=torch.int32, device=device)
    return PackedBatch(
        batch_size,
        padded_len,
        num_tokens,
        num_tokens,
        padded_len,
        padded_len,
        None,
        cu_seqlens,
        None,
        first_rows,
        order=None,
    )


def pack(attended: Tensor, computed: Tensor) -> PackedBatch:
    """The layout of a batch with padding, in any place.

    attended: [B, S] bool, the positions that are keys. computed: [B, S] bool, the positions whose output is needed;
    it must hold every attended one and column 0.
    """
    batch_size, padded_len = attended.shape
    device = attended.device
    lengths = computed.sum(1)
    keys = attended.sum(1)
    counts = torch.stack((lengths.sum(), lengths.max(), keys.sum(), keys.min()))
    num_tokens, max_seqlen, num_keys, fewest_keys = counts.tolist()
    if num_keys == batch_size * padded_len:
        return pack_dense(batch_size, padded_len, device)

    order = None
    if num_tokens < batch_size * padded_len:
        # Equal lengths side by side, the longest first: attention batches neighbours of one shape.
        order = torch.argsort(lengths * (padded_len + 1) + keys, descending=True, stable=True)
        attended, computed, lengths, keys = attended[order], computed[order], lengths[order], keys[order]

    columns, is_row, cu_seqlens, first_rows = place_positions(attended, computed, lengths, keys)
    rows = torch.arange(batch_size, device=device) if order is None else order
    flat = columns + rows.unsqueeze(1) * padded_len
    indices: Tensor | None = flat[is_row]
    if order is None and torch.equal(columns, torch.arange(padded_len, device=device).expand_as(columns)):
        indices = None
    key_lengths = None if num_keys == num_tokens else keys.to(torch.int32)
    return PackedBatch(
        batch_size,
        padded_len,
        num_tokens,
        num_keys,
        max_seqlen,
        fewest_keys,
        indices,
        cu_seqlens,
        key_lengths,
        first_rows,
        order,
    )
