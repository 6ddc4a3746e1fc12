"""What a candidate is asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

#: Of input_ids and attention_mask [B, S]: the model's outputs, float32.
Forward = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Setup:
    """model: a name that ``models.build`` knows. folder: where files made of it are kept."""

    model: str
    precision: str
    threads: int
    folder: Path
