"""What is asked of an encoder: models, batches, lengths, and the goals that the project has set itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

BATCHES, LENGTHS = (1, 8, 32, 128), (32, 128, 384, 512)
_SEED = 3


@dataclass(frozen=True)
class Model:
    name: str
    layers: int
    hidden: int
    heads: int
    inner: int
    vocab: int = 30522


BASE, LARGE = Model("base", 12, 768, 12, 3072), Model("large", 24, 1024, 16, 4096)
TINY = Model("tiny", 2, 32, 2, 64, vocab=100)


@dataclass(frozen=True)
class Goal:
    """On an H200: at most ``latency_ms``, or at least ``sequences_per_s``; and so much faster than the best other."""

    ratio: float
    latency_ms: float | None = None
    sequences_per_s: float | None = None


@dataclass(frozen=True)
class Workload:
    """lengths: of the texts, padded to S = ``length``."""

    model: Model
    dtype: torch.dtype
    length: int
    lengths: tuple[int, ...]
    goal: Goal | None = None

    @property
    def batch(self) -> int:
        return len(self.lengths)

    @property
    def is_ragged(self) -> bool:
        return min(self.lengths) < self.length

    @property
    def flops(self) -> float:
        """Of the real tokens: matrix products of the layers and of their attention."""
        h, i = self.model.hidden, self.model.inner
        dense = (8 * h * h + 4 * h * i) * sum(self.lengths)
        attention = 4 * h * sum(n * n for n in self.lengths)
        return float(self.model.layers * (dense + attention))

    def __str__(self) -> str:
        ragged = " ragged" if self.is_ragged else ""
        return f"{self.model.name} {str(self.dtype).removeprefix('torch.')} B{self.batch} S{self.length}{ragged}"


def ragged_lengths(batch: int, length: int) -> tuple[int, ...]:
    """Log-normal, median 160 and sigma 0.35 where S is 384, within 16 and S: shaped like questions with their
    paragraphs in SQuAD, of which most are far shorter than the 384 that is usual there. Drawn, not taken from it.
    """
    generator = torch.Generator().manual_seed(_SEED)
    drawn = torch.exp(math.log(160) + 0.35 * torch.randn(batch, generator=generator)) * length / 384
    return tuple(int(n) for n in drawn.clamp(min(16, length), length))


def workloads(dry: bool) -> Iterator[Workload]:
    """The goals first; then bfloat16 before float16, base before large, full and ragged side by side."""
    if dry:
        yield Workload(TINY, torch.float32, 16, (16, 16), Goal(1.3, latency_ms=1.5))
        yield Workload(TINY, torch.float32, 16, (16, 3, 7))
        return
    bfloat16 = torch.bfloat16
    goals = [
        Workload(BASE, bfloat16, 128, (128,) * 32, Goal(1.3, latency_ms=1.5)),
        Workload(BASE, bfloat16, 128, (128,), Goal(1.3, latency_ms=0.35)),
        Workload(LARGE, bfloat16, 384, ragged_lengths(32, 384), Goal(2.5, sequences_per_s=4650)),
    ]
    yield from goals
    yield Workload(BASE, torch.float32, 128, (128,) * 32)
    done = {str(workload) for workload in goals}
    for dtype, model in itertools.product((bfloat16, torch.float16), (BASE, LARGE)):
        for length, batch in itertools.product(LENGTHS, BATCHES):
            for lengths in ((length,) * batch, ragged_lengths(batch, length)):
                workload = Workload(model, dtype, length, lengths)
                if str(workload) not in done:
                    yield workload
