"""Texts as rows of ids, alone and in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def make_texts(config: Any, lengths: Sequence[int], seed: int = 0) -> list[Tensor]:
    """Ids of texts of these lengths, none of them padding."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(8, config.vocab_size, (length,), generator=generator) for length in lengths]


def batch_of(texts: Sequence[Tensor], pad_token_id: int, left: Sequence[int], extra: int = 0) -> dict[str, Tensor]:
    """Texts behind ``left`` columns of padding each, and before what is missing, ``extra`` columns at least.

    A text's positions count from its own first token.
    """
    width = max(len(text) + before for text, before in zip(texts, left, strict=True)) + extra
    ids = torch.full((len(texts), width), pad_token_id)
    mask, positions = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, (text, before) in enumerate(zip(texts, left, strict=True)):
        place = slice(before, before + len(text))
        ids[row, place], mask[row, place], positions[row, place] = text, 1, torch.arange(len(text))
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
