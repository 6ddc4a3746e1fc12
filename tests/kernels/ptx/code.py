"""What a parsed kernel is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np

from kernels.ptx.kinds import DTYPES, Array, storage


@dataclass(frozen=True)
class Register:
    name: str


@dataclass(frozen=True)
class Special:
    """A register that the hardware sets, ``%tid.x`` and its like."""

    name: str


@dataclass(frozen=True)
class Immediate:
    """A constant: an integer, or the bits of a float; of which kind, the instruction knows."""

    value: int

    def as_kind(self, kind: str) -> Array:
        return _constant(self, kind)


@cache
def _constant(immediate: Immediate, kind: str) -> Array:
    if kind == "pred":
        return np.asarray(immediate.value != 0)
    width = storage(kind)
    wrapped = immediate.value % (1 << 8 * width.itemsize)
    constant = np.asarray(wrapped, dtype=width).view(DTYPES[kind])
    constant.flags.writeable = False
    return constant


@dataclass(frozen=True)
class Symbol:
    """A label, a parameter, or a variable in shared memory."""

    name: str


@dataclass(frozen=True)
class Sink:
    """``_``, a result that nobody wants."""


@dataclass(frozen=True)
class Address:
    base: Register | Symbol | Immediate
    offset: int


@dataclass(frozen=True)
class Vector:
    """``{a, b}``, and the two results of ``a|b``."""

    elements: tuple[Operand, ...]


Operand = Register | Special | Immediate | Symbol | Sink | Address | Vector


@dataclass(frozen=True)
class Instruction:
    opcode: str  # with all modifiers: "ld.global.v4.f32"
    operands: tuple[Operand, ...]
    guard: str | None  # the predicate register that decides whether a thread takes part
    is_guard_negated: bool
    line: int
    text: str

    @property
    def parts(self) -> list[str]:
        return self.opcode.split(".")

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


@dataclass(frozen=True)
class Variable:
    """In shared memory. The one of dynamic size, at the end, has no size of its own."""

    name: str
    alignment: int
    num_bytes: int | None


@dataclass
class Kernel:
    name: str
    params: dict[str, tuple[int, int]] = field(default_factory=dict)  # offset and size in bytes
    params_bytes: int = 0
    registers: dict[str, str] = field(default_factory=dict)  # kind by name
    variables: list[Variable] = field(default_factory=list)
    # Arrays in global memory that come with the module.
    constants: dict[str, Array] = field(default_factory=dict)
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)  # index of the next instruction
    max_threads: int = 1024
