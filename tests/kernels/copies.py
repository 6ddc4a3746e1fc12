"""The ops that only move what they are given, beside PyTorch's own: how many elements of theirs differ.

Compared as bits, and the values are random bits: NaN and -0 are among them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Each with an integer type of its size.
_DTYPES = {
    "float32": (torch.float32, torch.int32),
    "float16": (torch.float16, torch.int16),
    "bfloat16": (torch.bfloat16, torch.int16),
}
_PAD_TOKEN, _WORD = 0, 5

# By op, input and dtype.
Differing = dict[tuple[str, str, str], int]


def _random_bits(storage: torch.dtype, *shape: int) -> Tensor:
    limits = torch.iinfo(storage)
    return torch.randint(limits.min, limits.max, shape, dtype=storage)


def _unpad_input(emulated: Any, batch_size: int, padded_len: int) -> int:
    mask = (torch.rand(batch_size, padded_len) < 0.7).long()
    # Of what the mask hides, a third holds a real id and is computed, too; and of column 0 all is.
    ids = torch.where((mask == 1) | (torch.rand(mask.shape) < 0.3), _WORD, _PAD_TOKEN)
    is_computed = ids != _PAD_TOKEN
    is_computed[:, 0] = True
    numbers = torch.arange(mask.numel()).view_as(mask)
    sequences = []
    for row, keys, computed in zip(numbers, mask == 1, is_computed, strict=True):
        sequences.append(torch.cat([row[part.nonzero().flatten()] for part in (keys, computed & ~keys)]))
    lengths, num_keys = is_computed.sum(1), mask.sum(1)
    offsets = torch.cat((torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)))
    wanted = (
        torch.cat((*sequences, numbers.flatten()[(~is_computed).flatten().nonzero().flatten()])),
        offsets.int(),
        num_keys.int(),
        offsets[:-1] + torch.where(mask[:, 0] == 1, 0, num_keys),
        torch.stack((lengths.sum(), lengths.max(), num_keys.sum(), num_keys.min(), torch.tensor(0))),
    )
    found = emulated.unpad_input(mask, ids, None, None, _WORD + 1, 1, padded_len, _PAD_TOKEN, None)
    return sum(int((own != tensor).sum()) for own, tensor in zip(found, wanted, strict=True))


def _pad_input(emulated: Any, dtype: torch.dtype, storage: torch.dtype, hidden_size: int) -> int:
    num_positions, num_tokens = 60, 41
    indices, x = torch.randperm(num_positions), _random_bits(storage, num_tokens, hidden_size)
    wanted = torch.zeros(num_positions, hidden_size, dtype=storage).index_copy_(0, indices[:num_tokens], x)
    return int((emulated.pad_input(x.view(dtype), indices).view(storage) != wanted).sum())


def _gather_first(emulated: Any, dtype: torch.dtype, storage: torch.dtype, hidden_size: int) -> int:
    first_rows, x = torch.randperm(60)[:9], _random_bits(storage, 60, hidden_size)
    wanted = x.index_select(0, first_rows)
    return int((emulated.gather_first(x.view(dtype), first_rows).view(storage) != wanted).sum())


def count_differing(emulated: Any) -> Differing:
    """All cases, the same each time."""
    torch.manual_seed(0)
    found: Differing = {}
    for batch_size, padded_len in ((7, 50), (3, 1100)):
        case = f"B {batch_size}, S {padded_len}, any holes"
        found["unpad_input", case, "int64"] = _unpad_input(emulated, batch_size, padded_len)
    for op, count in (("pad_input", _pad_input), ("gather_first", _gather_first)):
        for hidden_size in (768, 5):
            for name, (dtype, storage) in _DTYPES.items():
                found[op, f"H {hidden_size}", name] = count(emulated, dtype, storage, hidden_size)
    return found
