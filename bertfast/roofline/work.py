"""What each kernel has to do, whatever it runs on: bytes from and to memory, and operations.

Every tensor is counted once: what a kernel reads again, it finds in a cache. An addition and a multiplication are a
FLOP each, a fused one two.
"""

from __future__ import annotations

from dataclasses import dataclass


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

    @property
    def num_bytes(self) -> float:
        return self.read_bytes + self.written_bytes

    @property
    def all_flops(self) -> float:
        return self.flops + self.tensor_flops


@dataclass(frozen=True)
class Case:
    """A kernel at a shape: its formulas in words, and the same in numbers."""

    name: str
    op: str
    shape: Shape
    reads: str
    writes: str
    operations: str
    work: Work
