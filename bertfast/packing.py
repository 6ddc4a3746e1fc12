"""Padding is removed here, once, before the first layer, and put back here, once, after the last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from bertfast.ops import pad_input
from bertfast.ops.packed_layout import Run, equal_length_runs
from bertfast.ops.unpad_input import PackedCounts, UnpaddedInput, place_positions

_LONGEST = 2**20


@dataclass(frozen=True)
class Sequences:
    """Where the packed sequences lie: what the layers know of a batch.

    A sequence's keys come first in its rows; positions that are computed although the mask hides them follow as
    queries that are no keys.

    cu_seqlens: [B + 1] int32, first row of each sequence, and T. key_lengths: [B] int32, None if all rows are keys.
    first_rows: [B] int64, the row of column 0 of each sequence. max_seqlen: no sequence is longer. apart: each is
    computed as if it were alone, to the bit.
    """

    cu_seqlens: Tensor
    key_lengths: Tensor | None
    first_rows: Tensor
    max_seqlen: int
    apart: bool = False

    def __len__(self) -> int:
        return self.first_rows.shape[0]

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """Of equal lengths; the values of the offsets are read, once."""
        num_tokens = int(self.cu_seqlens[-1])
        return tuple(equal_length_runs(num_tokens, self.cu_seqlens, self.key_lengths, self.max_seqlen))

    def taken_apart(self) -> Sequences:
        """The same, to be computed apart: the longest of a batch, which chooses among kernels, is not told."""
        return replace(self, max_seqlen=_LONGEST, apart=True)

    def lengths(self) -> Tensor:
        """Rows of each sequence: [B] int32."""
        return self.cu_seqlens.diff()

    def to(self, device: torch.device) -> Sequences:
        """The same on another device; nobody waits for the copies."""
        keys = None if self.key_lengths is None else self.key_lengths.to(device, non_blocking=True)
        offsets, firsts = (t.to(device, non_blocking=True) for t in (self.cu_seqlens, self.first_rows))
        return Sequences(offsets, keys, firsts, self.max_seqlen, self.apart)


@dataclass(frozen=True)
class PackedBatch:
    """Which padded positions are computed, and where they stand in the packed ``[T, H]`` layout.

    num_tokens: T, the rows that are computed. num_keys: keys of all sequences; fewest_keys: the smallest number of
    keys of a sequence; both None if nobody has waited for them, and then T is B * S, and rows beyond the last sequence
    hold nothing. indices: [B * S] int64, every position of the batch once, those of the rows first, or None where both
    layouts are the same. order: [B] int64, the batch row of each packed sequence, or None where the order was kept.
    """

    batch_size: int
    padded_len: int
    num_tokens: int
    num_keys: int | None
    fewest_keys: int | None
    indices: Tensor | None
    sequences: Sequences
    order: Tensor | None = None

    def rows(self) -> Tensor | None:
        """The position of each row in the flattened batch: [T] int64, or None if that is its own number."""
        return None if self.indices is None else self.indices[: self.num_tokens]

    def scatter(self, packed: Tensor) -> Tensor:
        """Lay rows back. packed: [T, H] -> [B, S, H]; positions that were not computed hold zeros."""
        if self.indices is not None:
            packed = pad_input(packed, self.indices, self.sequences.cu_seqlens[-1:])
        # To autograd no view: an output of a Function that is one could not be edited in place, as stock's can.
        shape = (self.batch_size, self.padded_len, packed.shape[1])
        return torch.ops.aten._unsafe_view(packed, shape)  # type: ignore[no-any-return]

    def scatter_first(self, first: Tensor) -> Tensor:
        """Put one row per packed sequence in batch order. first: [B, H] -> [B, 1, H]."""
        if self.order is not None:
            first = torch.empty_like(first).index_copy_(0, self.order, first)
        return first.unsqueeze(1)

    def to(self, device: torch.device) -> PackedBatch:
        """The same on another device; nobody waits for the copies."""
        indices, order = (None if t is None else t.to(device, non_blocking=True) for t in (self.indices, self.order))
        return replace(self, indices=indices, order=order, sequences=self.sequences.to(device))


def pack_dense(batch_size: int, padded_len: int, device: torch.device) -> PackedBatch:
    """The layout of a batch without padding: every position is computed and is a key."""
    num_tokens = batch_size * padded_len
    first_rows = torch.arange(0, num_tokens, padded_len, device=device)
    cu_seqlens = torch.arange(0, num_tokens + 1, padded_len, dtype=torch.int32, device=device)
    sequences = Sequences(cu_seqlens, None, first_rows, padded_len)
    return PackedBatch(batch_size, padded_len, num_tokens, num_tokens, padded_len, None, sequences)


def pack(attended: Tensor, computed: Tensor) -> PackedBatch:
    """The layout of a batch with padding, in any place, from masks whose values can be read without waiting.

    attended: [B, S] bool, the positions that are keys. computed: [B, S] bool, the positions whose output is needed;
    it must hold every attended one and column 0. Sequences are ordered by length where that makes neighbours equal.
    """
    batch_size, padded_len = attended.shape
    lengths, keys = computed.sum(1), attended.sum(1)
    counts = torch.stack((lengths.sum(), lengths.max(), keys.sum(), keys.min()))
    num_tokens, max_seqlen, num_keys, fewest_keys = counts.tolist()
    if num_keys == batch_size * padded_len:
        return pack_dense(batch_size, padded_len, attended.device)

    order = None
    if num_tokens < batch_size * padded_len:
        # Equal lengths side by side, the longest first: attention batches neighbours of one shape.
        order = torch.argsort(lengths * (padded_len + 1) + keys, descending=True, stable=True)
        attended, computed, lengths, keys = attended[order], computed[order], lengths[order], keys[order]

    columns, is_row, cu_seqlens, first_rows = place_positions(attended, computed, lengths, keys)
    slots = torch.arange(padded_len, device=attended.device)
    indices = None
    if order is not None or not torch.equal(columns, slots.expand_as(columns)):
        rows = torch.arange(batch_size, device=attended.device) if order is None else order
        positions = columns + rows.unsqueeze(1) * padded_len
        indices = torch.cat((positions[is_row], positions[~is_row]))
    key_lengths = None if num_keys == num_tokens else keys.to(torch.int32)
    sequences = Sequences(cu_seqlens, key_lengths, first_rows, max_seqlen)
    return PackedBatch(batch_size, padded_len, num_tokens, num_keys, fewest_keys, indices, sequences, order)


def packed_on_device(unpadded: UnpaddedInput, padded_len: int, counts: PackedCounts | None) -> PackedBatch:
    """The layout that `unpad_input` made on a device. counts: its counts on the host, None if nobody waits for them."""
    indices, cu_seqlens, key_lengths, first_rows, _ = unpadded
    batch_size, slots = first_rows.shape[0], indices.shape[0]
    if counts is None:
        sequences = Sequences(cu_seqlens, key_lengths, first_rows, padded_len)
        return PackedBatch(batch_size, padded_len, slots, None, None, indices, sequences)
    if counts.num_keys == slots:
        return pack_dense(batch_size, padded_len, indices.device)
    all_keys = counts.num_keys == counts.num_tokens
    sequences = Sequences(cu_seqlens, None if all_keys else key_lengths, first_rows, counts.max_seqlen)
    return PackedBatch(
        batch_size, padded_len, counts.num_tokens, counts.num_keys, counts.fewest_keys, indices, sequences
    )
