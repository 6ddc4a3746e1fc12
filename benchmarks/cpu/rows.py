"""The workloads of the encoder benchmarks on a CPU: seeded batches with real lengths."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bertfast.bench.workloads import Workload, random_batch

# Real texts of the two-text script: short sentences of 6 and 8 tokens with [CLS] and [SEP].
SHORT_LENGTHS = (6, 8)
# Draws 737 tokens in 1680 slots, 2.28 slots per token.
SEED = 3


@dataclass(frozen=True)
class Row:
    """One workload: lengths of its texts, the length they are padded to, and how the model is used.

    at_least: the speed-up over transformers that is asked of bertfast.
    """

    name: str
    lengths: tuple[int, ...]
    padded_len: int
    raw_model: bool = False
    pad_outputs: str = "auto"
    gradients: bool = False
    at_least: float = 1.0

    @property
    def real_tokens(self) -> int:
        return sum(self.lengths)

    @property
    def padded_slots(self) -> int:
        return len(self.lengths) * self.padded_len


def ragged_lengths() -> tuple[int, ...]:
    """16 log-normal lengths within 8 and 256: drawn are 15 to 105, half of them below 39."""
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.exp(math.log(40) + 0.6 * torch.randn(16, generator=generator))
    return tuple(int(length) for length in drawn.clamp(8, 256))


def rows() -> list[Row]:
    """All workloads, with the speed-up that each must reach."""
    ragged = ragged_lengths()
    slots_per_token = len(ragged) * max(ragged) / sum(ragged)
    return [
        Row("padded-512", SHORT_LENGTHS, 512, gradients=True, at_least=30),
        Row("ragged", ragged, max(ragged), at_least=0.95 * slots_per_token),
        Row("ragged-exact", ragged, max(ragged), raw_model=True, pad_outputs="exact", at_least=1.05),
        Row("8x128", (128,) * 8, 128, at_least=1.1),
        Row("1x128", (128,), 128, at_least=1.1),
        Row("1x32", (32,), 32, at_least=1.1),
    ]


def batch(row: Row) -> dict[str, Tensor]:
    """input_ids and attention_mask [B, S] as a tokenizer would make them."""
    made = random_batch(row.lengths, row.padded_len)
    return {"input_ids": torch.from_numpy(made.ids), "attention_mask": torch.from_numpy(made.mask)}


def workload(row: Row) -> Workload:
    """The same batch, for those who measure workloads."""
    return Workload(row.name, len(row.lengths), (random_batch(row.lengths, row.padded_len),))
