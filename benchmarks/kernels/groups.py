"""What is compared with each other: implementations of one computation, on the same values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from benchmarks.gpu.timers import Call
from bertfast.roofline.work import Work


@dataclass(frozen=True)
class Inputs:
    """values: all tensors that are computed with. calls: by implementation.

    reads: bytes of them that the call reads which reads least; holds: bytes of all of them.
    """

    values: Sequence[Tensor]
    calls: Mapping[str, Call]
    reads: int
    holds: int


@dataclass(frozen=True)
class Group:
    """One computation. shape: in words that an id may have; work: of bertfast's; names: of the implementations.

    make(): new values. errors(inputs): by implementation, relative, against the one that the others are compared
    with; none may be above ``allowed``. Tests say how right a result is; this says that the same thing is timed.
    """

    op: str
    shape: str
    dtype: str
    device: str
    work: Work
    names: tuple[str, ...]
    make: Callable[[], Inputs]
    errors: Callable[[Inputs], Mapping[str, float]]
    allowed: float

    @property
    def key(self) -> tuple[str, str, str]:
        return self.op, self.shape, self.dtype

    def __str__(self) -> str:
        return f"{self.op}[{self.shape}-{self.dtype}]"
