"""Which function executes an instruction, and whom it has to wait for before it may."""

from __future__ import annotations

import enum
from functools import cache

from kernels.ptx.access import ACCESSES
from kernels.ptx.arithmetic import ARITHMETIC
from kernels.ptx.block import Handler
from kernels.ptx.code import Instruction
from kernels.ptx.conversion import CONVERSIONS
from kernels.ptx.copies import COPIES
from kernels.ptx.errors import Unsupported
from kernels.ptx.tensor import TENSOR
from kernels.ptx.warp import BLOCK_BARRIERS, WARP


class Rendezvous(enum.Enum):
    """Who has to arrive at an instruction before anybody executes it."""

    NONE = enum.auto()
    WARP = enum.auto()
    BLOCK = enum.auto()


_TABLES = (
    *((table, Rendezvous.NONE) for table in (ARITHMETIC, CONVERSIONS, ACCESSES, COPIES)),
    *((table, Rendezvous.WARP) for table in (WARP, TENSOR)),
    (BLOCK_BARRIERS, Rendezvous.BLOCK),
)


@cache
def _find(opcode: str) -> tuple[Handler, Rendezvous] | None:
    return next(((table[opcode], rendezvous) for table, rendezvous in _TABLES if opcode in table), None)


def find_handler(instruction: Instruction) -> Handler:
    """Raises Unsupported for an opcode, modifiers included, that no table has."""
    found = _find(instruction.opcode)
    if found is None:
        raise Unsupported(f"{instruction}: unknown opcode {instruction.opcode}")
    return found[0]


def rendezvous_of(instruction: Instruction) -> Rendezvous:
    """Who has to be at the instruction."""
    found = _find(instruction.opcode)
    return found[1] if found else Rendezvous.NONE
