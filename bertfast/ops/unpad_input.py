"""``bertfast::unpad_input``: which positions of a padded batch are computed, and where they stand when packed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bertfast.ops._library import check_dtype, check_shape, register
from bertfast.ops.id_range import OUT_OF_RANGE_BITS, comparable, is_out_of_range

MASK_DTYPES = (
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
)
# Offsets are 32-bit.
MAX_POSITIONS = 2**31 - 1


class PackedCounts(NamedTuple):
    """What ``counts`` of `unpad_input` holds, in its order: ``PackedCounts(*counts.tolist())`` is the one copy.

    num_tokens: T, the computed positions. max_seqlen: those of the sequence with the most. num_keys: the attended
    positions. fewest_keys: those of the sequence with the fewest. out_of_range: the bits of `embedding_layer_norm`.
    """

    num_tokens: int
    max_seqlen: int
    num_keys: int
    fewest_keys: int
    out_of_range: int


class UnpaddedInput(NamedTuple):
    """A packed layout in device memory.

    indices: [B * S] int64, every position of the flattened batch once: those of the T packed rows, then those that
    are not computed, in the order of the batch. cu_seqlens: [B + 1] int32, the first row of each sequence, and T.
    key_lengths: [B] int32. first_rows: [B] int64, the row that stood in column 0. counts: [5] int64, `PackedCounts`.
    """

    indices: Tensor
    cu_seqlens: Tensor
    key_lengths: Tensor
    first_rows: Tensor
    counts: Tensor


def unpad_input(
    attention_mask: Tensor,
    input_ids: Tensor | None,
    token_type_ids: Tensor | None,
    position_ids: Tensor | None,
    num_words: int,
    num_token_types: int,
    num_positions: int,
    pad_token_id: int | None,
    one_in: torch.dtype | None,
) -> UnpaddedInput:
    """Lay out a batch without its padding, and check its ids, without waiting for the device.

    attention_mask: [B, S], bool, an integer up to 64 bits or a float. It attends to a position where its element is
    not 0 (NaN is not), or with one_in where it is 1 once it is rounded to that dtype, float32, float16 or bfloat16:
    the model's. A position is a key where the mask attends to it. It is computed if it is a key, or holds another id
    than pad_token_id, or stands in column 0, which poolers read. Without input_ids or pad_token_id every position is.

    Packed sequence b is row b of the batch. The keys of a sequence come first in it, then the positions that are
    computed without being keys, each in the order of their columns.

    The ids are [B, S], int64 or int32, or None. Every one, also at positions that are not computed, is compared with
    the number of rows of its table; the bits for tables that an id lies outside of end in ``counts.out_of_range``.
    What follows from the sizes alone, ``S <= num_positions`` without position_ids, is the caller's to check.

    Raises ValueError for shapes and dtypes that do not fit, no column in a row, and above 2^31 - 1 positions.
    """
    return UnpaddedInput(
        *torch.ops.bertfast.unpad_input(
            attention_mask,
            input_ids,
            token_type_ids,
            position_ids,
            num_words,
            num_token_types,
            num_positions,
            pad_token_id,
            one_in,
        )
    )


def place_positions(
    attended: Tensor, computed: Tensor, lengths: Tensor, keys: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where positions stand when packed, row after row of the batch.

    attended: [B, S] bool, the keys; computed: [B, S] bool, which holds every attended position and column 0;
    lengths, keys: [B] int64, how many of either are in a row -> columns: [B, S] int64, those of the keys of a row
    first, then of its other computed positions, then of the rest; is_row: [B, S] bool, which of ``columns`` become
    rows; cu_seqlens: [B + 1] int32; first_rows: [B] int64, the row of column 0.
    """
    batch_size, padded_len = attended.shape
    device = attended.device
    # Rank 0: a key; 1: a query that is no key; 2: not computed. Columns keep their order within a rank.
    rank = 2 - computed.to(torch.int8) - attended.to(torch.int8)
    columns = torch.argsort(rank, dim=1, stable=True)
    is_row = torch.arange(padded_len, device=device) < lengths.unsqueeze(1)
    cu_seqlens = torch.zeros(batch_size + 1, dtype=torch.int32, device=device)
    torch.cumsum(lengths, 0, dtype=torch.int32, out=cu_seqlens[1:])
    first_rows = cu_seqlens[:-1] + torch.where(attended[:, 0], 0, keys)
    return columns, is_row, cu_seqlens, first_rows


def attended_positions(attention_mask: Tensor, one_in: torch.dtype | None) -> Tensor:
    """Where the mask attends to: bool, as `unpad_input` reads it."""
    return attention_mask.bool() if one_in is None else attention_mask.to(one_in) == 1


def computed_positions(attended: Tensor, input_ids: Tensor | None, pad_token_id: int | None) -> Tensor:
    """Which positions are computed: bool, by the rule of `unpad_input`."""
    if input_ids is None or pad_token_id is None:
        return torch.ones_like(attended)
    computed = attended | (comparable(input_ids, pad_token_id) != pad_token_id)
    computed[:, :1] = True
    return computed


class _Arguments(NamedTuple):
    attention_mask: Tensor
    input_ids: Tensor | None
    token_type_ids: Tensor | None
    position_ids: Tensor | None
    num_words: int
    num_token_types: int
    num_positions: int
    pad_token_id: int | None
    one_in: torch.dtype | None

    def ids(self) -> dict[str, Tensor]:
        """Those that were given, by name."""
        names = ("input_ids", "token_type_ids", "position_ids")
        return {name: ids for name in names if (ids := getattr(self, name)) is not None}


def _check(a: _Arguments) -> None:
    check_shape("attention_mask", a.attention_mask, "B", "S")
    check_dtype("attention_mask", a.attention_mask, *MASK_DTYPES)
    for name, ids in a.ids().items():
        check_shape(name, ids, *a.attention_mask.shape)
        check_dtype(name, ids, torch.int64, torch.int32)
    batch_size, padded_len = a.attention_mask.shape
    if padded_len < 1 and batch_size > 0:
        raise ValueError("attention_mask: expected at least 1 column, got 0")
    if a.one_in not in (None, torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"one_in: expected torch.float32 or torch.float16 or torch.bfloat16, got {a.one_in}")


def _reference(a: _Arguments) -> tuple[Tensor, ...]:
    # Not in _check: traced, a bound on the product of two sizes is a guard that export does not understand.
    if a.attention_mask.numel() > MAX_POSITIONS:
        raise ValueError(f"attention_mask: expected at most {MAX_POSITIONS} positions, got {a.attention_mask.numel()}")
    attended = attended_positions(a.attention_mask, a.one_in)
    computed = computed_positions(attended, a.input_ids, a.pad_token_id)
    batch_size, padded_len = attended.shape
    if batch_size == 0:
        return tuple(torch.zeros_like(part) for part in _fake(a))
    lengths, keys = computed.sum(1), attended.sum(1)
    columns, is_row, cu_seqlens, first_rows = place_positions(attended, computed, lengths, keys)
    positions = columns + torch.arange(batch_size, device=columns.device).unsqueeze(1) * padded_len
    indices = torch.cat((positions[is_row], positions[~is_row]))
    bits = torch.tensor(_out_of_range(a), device=columns.device)
    counts = torch.stack((lengths.sum(), lengths.max(), keys.sum(), keys.min(), bits))
    return indices, cu_seqlens, keys.to(torch.int32), first_rows, counts


def _out_of_range(a: _Arguments) -> int:
    rows = {"input_ids": a.num_words, "token_type_ids": a.num_token_types, "position_ids": a.num_positions}
    return sum(OUT_OF_RANGE_BITS[name] for name, ids in a.ids().items() if is_out_of_range(ids, rows[name]))


def _fake(a: _Arguments) -> tuple[Tensor, ...]:
    batch_size, padded_len = a.attention_mask.shape

    def empty(size: int, dtype: torch.dtype) -> Tensor:
        return a.attention_mask.new_empty((size,), dtype=dtype)

    return (
        empty(batch_size * padded_len, torch.int64),
        empty(batch_size + 1, torch.int32),
        empty(batch_size, torch.int32),
        empty(batch_size, torch.int64),
        empty(len(PackedCounts._fields), torch.int64),
    )


register(
    "unpad_input(Tensor attention_mask, Tensor? input_ids, Tensor? token_type_ids, Tensor? position_ids, "
    "SymInt num_words, SymInt num_token_types, SymInt num_positions, int? pad_token_id, ScalarType? one_in)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _reference,
    _fake,
    _check,
    _Arguments,
)
