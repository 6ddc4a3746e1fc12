"""One thread block: its registers and memories, and which of its threads goes on next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from kernels.ptx.code import Immediate, Instruction, Kernel, Operand, Register, Sink, Special, Symbol, Vector
from kernels.ptx.errors import Fault, Unsupported
from kernels.ptx.kinds import Array, from_bits, num_bytes, storage, to_bits
from kernels.ptx.memory import GlobalMemory, SharedMemory

WARP_SIZE = 32
Lanes = Array | slice
_DYNAMIC_ALIGNMENT = 16


@dataclass(eq=False)
class Group:
    """Threads that are at the same instruction."""

    pc: int
    threads: Array  # their numbers, ascending
    is_waiting: bool = False


@dataclass(eq=False)
class PendingCopy:
    """What one cp.async of some threads will write, once they have waited for its group."""

    threads: Array
    addresses: Array
    values: Array  # [n, bytes]
    groups: Array  # of each thread, counted from 0


@dataclass(eq=False)
class Block:
    """The state that instructions change. ``lanes`` says which threads execute one."""

    kernel: Kernel
    num_threads: int
    specials: dict[str, Array]
    params: Array  # bytes
    global_memory: GlobalMemory
    dynamic_smem_bytes: int
    pending_copies: list[PendingCopy] = field(default_factory=list)

    def __post_init__(self) -> None:
        # All bits set: NaN as a float, and an address that is nowhere.
        self._registers = {
            name: np.invert(np.zeros(self.num_threads, storage(kind))) for name, kind in self.kernel.registers.items()
        }
        self.num_copy_groups = np.zeros(self.num_threads, np.int64)
        # Parameters lie in a space of their own.
        self._symbols = {name: offset for name, (offset, _) in self.kernel.params.items()}
        self._symbols |= {name: array.ctypes.data for name, array in self.kernel.constants.items()}
        self.shared_memory = SharedMemory(self._lay_out_shared_memory())

    def _lay_out_shared_memory(self) -> int:
        """Give every shared variable its address; the dynamic ones begin where the others end. The total size."""
        end = 0
        for variable in sorted(self.kernel.variables, key=lambda variable: variable.num_bytes is None):
            unit = variable.alignment if variable.num_bytes is not None else max(variable.alignment, _DYNAMIC_ALIGNMENT)
            begin = (end + unit - 1) // unit * unit
            self._symbols[variable.name] = begin
            end = begin + variable.num_bytes if variable.num_bytes is not None else end
        return (end + _DYNAMIC_ALIGNMENT - 1) // _DYNAMIC_ALIGNMENT * _DYNAMIC_ALIGNMENT + self.dynamic_smem_bytes

    def read(self, operand: Operand, kind: str, lanes: Lanes) -> Array:
        """The operand's value in each of the threads, or one value for all."""
        if isinstance(operand, Register):
            return from_bits(self._registers[operand.name][lanes], kind)
        if isinstance(operand, Immediate):
            return operand.as_kind(kind)
        if isinstance(operand, Special):
            return from_bits(self.specials[operand.name][lanes], kind)
        if isinstance(operand, Symbol) and operand.name in self._symbols:
            return Immediate(self._symbols[operand.name]).as_kind(kind)
        raise Unsupported(f"{operand} as a source")

    def write(self, operand: Operand, values: Array, lanes: Lanes) -> None:
        """Give the register its new value in each of the threads."""
        if isinstance(operand, Sink):
            return
        if not isinstance(operand, Register):
            raise Unsupported(f"{operand} as a destination")
        register = self._registers[operand.name]
        register[lanes] = to_bits(np.asarray(values), register.dtype)

    def warps(self, lanes: Lanes) -> Array:
        """The number of each thread's warp."""
        return np.arange(self.num_threads)[lanes] // WARP_SIZE

    def predicate(self, name: str, lanes: Lanes) -> Array:
        """The value of a predicate register."""
        return self._registers[name][lanes]

    def size_of(self, operand: Operand) -> int:
        """How many bytes a register has."""
        assert isinstance(operand, Register)
        return num_bytes(self.kernel.registers[operand.name])


def elements(operand: Operand) -> tuple[Operand, ...]:
    """Those of a vector; anything else is one element."""
    return operand.elements if isinstance(operand, Vector) else (operand,)


Handler = Callable[[Block, Instruction, Lanes], None]


def full_warps(threads: Array) -> Array:
    """Which of the threads belong to a warp that is here with all of its lanes."""
    present = np.bincount(threads // WARP_SIZE)
    return np.asarray(present[threads // WARP_SIZE] == WARP_SIZE)


def require_full_mask(mask: Array) -> None:
    """The kernels let whole warps work together, never parts of one."""
    if (mask != 0xFFFFFFFF).any():
        raise Fault("a mask of lanes that is not the whole warp")
