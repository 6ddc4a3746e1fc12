"""What a candidate is asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

#: Of input_ids and attention_mask [B, S], both on the CPU: the model's outputs, float32, there too.
Forward: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"


@dataclass(frozen=True)
class Setup:
    """model: what `models.build` takes. folder: where files made of it are kept."""

    model: str
    precision: str
    threads: int
    folder: Path
    device: str = "cpu"
