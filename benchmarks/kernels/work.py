"""What each kernel has to do, whatever it runs on: bytes from and to memory, and operations.

Every tensor is counted once: what a kernel reads again, it finds in a cache. An addition and a multiplication are a
FLOP each, a fused one two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """BERT-base, without padding. ``element_bytes``: 2 for float16 and bfloat16, 4 for float32."""

    batch: int = 32  # B
    length: int = 128  # S
    element_bytes: int = 2  # e
    hidden: int = 768  # H
    heads: int = 12  # N
    inner: int = 3072  # I

    @property
    def tokens(self) -> int:
        return self.batch * self.length

    @property
    def dtype(self) -> int:
        """As csrc/kernels/dtype.h counts: float32, float16."""
        return 0 if self.element_bytes == 4 else 1

    def __str__(self) -> str:
        return f"B{self.batch} S{self.length} {'float32' if self.element_bytes == 4 else 'float16'}"


@dataclass(frozen=True)
class Work:
    """Bytes, operations of floats, of tensor cores, and special functions."""

    read_bytes: float
    written_bytes: float
    flops: float = 0.0
    tensor_flops: float = 0.0
    special_ops: float = 0.0


@dataclass(frozen=True)
class Case:
    """A kernel at a shape: its formulas in words, the same in numbers, and the parameters of its launcher."""

    name: str
    op: str
    shape: Shape
    reads: str
    writes: str
    operations: str
    work: Work
    params: Mapping[str, Any]

    def launch_params(self, compute_capability: int) -> dict[str, Any]:
        """For a device of this capability."""
        return {n: compute_capability if n == "compute_capability" else v for n, v in self.params.items()}
