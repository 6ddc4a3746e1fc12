"""What is computed: batches of token ids as a tokenizer makes them, of lengths asked for or of real texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
# [CLS], a word and [SEP].
_SHORTEST = 3
# Ids of whole words in BERT's vocabulary of 30522.
_WORDS = (1000, 30000)


@dataclass(frozen=True)
class Batch:
    """ids and mask: [B, S], as numpy, for they travel between processes."""

    ids: Ids
    mask: Ids


@dataclass(frozen=True)
class Workload:
    """Batches that are computed one after the other. batch_size: of all but the last. is_texts: of a user's texts."""

    name: str
    batch_size: int
    batches: tuple[Batch, ...]
    is_texts: bool = False

    @property
    def real_tokens(self) -> int:
        return sum(int(batch.mask.sum()) for batch in self.batches)

    @property
    def padded_slots(self) -> int:
        return sum(batch.mask.size for batch in self.batches)

    @property
    def longest(self) -> int:
        """The longest text, in tokens."""
        return max(int(batch.mask.shape[1]) for batch in self.batches)


def random_batch(lengths: Sequence[int], padded_len: int, vocab_size: int = 30522, pad_id: int = 0) -> Batch:
    """Seeded ids of texts of these lengths, padded at their ends."""
    generator = torch.Generator().manual_seed(1)
    low, high = _WORDS if vocab_size > _WORDS[1] else (vocab_size // 2, vocab_size)
    mask = (torch.arange(padded_len) < torch.tensor(lengths).unsqueeze(1)).long()
    ids = torch.randint(low, high, mask.shape, generator=generator)
    return Batch(ids.masked_fill(mask == 0, pad_id).numpy(), mask.numpy())


def grid(
    batch_sizes: Iterable[int], lengths: Iterable[int], fills: Iterable[float], vocab_size: int, pad_id: int
) -> list[Workload]:
    """A workload of one batch for each size, length and share of real tokens; a single text is always full.

    Its name has the share that was reached: short texts have [CLS], a word and [SEP] at least.
    """
    found: dict[str, Workload] = {}
    for size in batch_sizes:
        for length in lengths:
            for fill in fills if size > 1 else (1.0,):
                drawn = filled_lengths(size, length, fill)
                reached = sum(drawn) / (size * length)
                name = f"{size}x{length}" + (f" {reached:.0%}" if reached < 1 else "")
                found[name] = Workload(name, size, (random_batch(drawn, length, vocab_size, pad_id),))
    return list(found.values())


def filled_lengths(count: int, longest: int, fill: float) -> list[int]:
    """``count`` lengths, one of them ``longest``, that fill about this share of the slots: many short, few long."""
    places = [(i + 1) / count for i in range(count)]

    def drawn(power: float) -> list[int]:
        return [max(min(_SHORTEST, longest), round(longest * place**power)) for place in places]

    low, high = 0.0, 64.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(drawn(middle)) > fill * count * longest else (low, middle)
    return drawn(high)


def of_texts(texts: Sequence[str], batch_sizes: Iterable[int], tokenizer: Any, max_length: int) -> list[Workload]:
    """A workload for each batch size: all texts in their order, each batch padded to its longest."""
    found = []
    for size in batch_sizes:
        parts = [list(texts[start : start + size]) for start in range(0, len(texts), size)]
        batches = tuple(_tokenized(part, tokenizer, max_length) for part in parts)
        found.append(Workload(f"texts by {size}", size, batches, is_texts=True))
    return found


def _tokenized(texts: list[str], tokenizer: Any, max_length: int) -> Batch:
    found = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="np")
    return Batch(found["input_ids"].astype(np.int64), found["attention_mask"].astype(np.int64))
