"""ld, st and atomics: values between registers and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from kernels.ptx.block import Block, Handler, Lanes, elements
from kernels.ptx.code import Address, Instruction, Operand, Symbol
from kernels.ptx.errors import Fault, Unsupported
from kernels.ptx.kinds import DTYPES, Array, num_bytes
from kernels.ptx.memory import SHARED_BASE, GlobalMemory, SharedMemory, check_alignment

_KINDS = ("b8", "u8", "s8", "b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64")
_WIDTHS = {"": 1, ".v2": 2, ".v4": 4}
# How a value is cached, or ordered against those of other blocks, changes nothing here.
_LOAD_HINTS = {"": ("", ".volatile"), ".global": ("", ".nc", ".volatile"), ".shared": ("", ".volatile")}
_UPDATES: dict[str, tuple[Callable[[Array, Array], Array], str]] = {
    "or.b32": (np.bitwise_or, "b32"),
    "add.u32": (np.add, "u32"),
}
_STORE_HINTS = {"": ("", ".volatile"), ".global": ("", ".wb", ".volatile"), ".shared": ("", ".volatile")}


def num_lanes(block: Block, lanes: Lanes) -> int:
    """How many threads execute an instruction."""
    return block.num_threads if isinstance(lanes, slice) else lanes.size


def addresses(block: Block, operand: Operand, lanes: Lanes, space: str) -> Array:
    """The address in each thread, 64 bits wide."""
    if not isinstance(operand, Address):
        raise Unsupported(f"{operand} as an address")
    is_narrow = space == ".shared" and not (isinstance(operand.base, Symbol) or block.size_of(operand.base) == 8)
    base = block.read(operand.base, "u32" if is_narrow else "u64", lanes)
    sums = base.astype(np.uint64) + np.uint64(operand.offset % 2**64)
    return np.broadcast_to(sums, (num_lanes(block, lanes),))


def resolve(block: Block, where: Array, space: str) -> tuple[GlobalMemory | SharedMemory, Array]:
    """The memory that addresses of a state space, or generic ones, belong to."""
    if space == ".global":
        return block.global_memory, where
    if space == ".shared":
        return block.shared_memory, where
    is_shared = where >= np.uint64(SHARED_BASE)
    if is_shared.all():
        return block.shared_memory, where - np.uint64(SHARED_BASE)
    if is_shared.any():
        raise Unsupported("one generic access to global and shared memory")
    return block.global_memory, where


def _load(space: str, width: int, kind: str) -> Handler:
    def load(block: Block, instruction: Instruction, lanes: Lanes) -> None:
        target, source = instruction.operands
        memory, where = resolve(block, addresses(block, source, lanes, space), space)
        values = np.ascontiguousarray(memory.read(where, width * num_bytes(kind), block.warps(lanes))).view(
            DTYPES[kind]
        )
        _write_columns(block, target, values, lanes)

    return load


def _write_columns(block: Block, target: Operand, values: Array, lanes: Lanes) -> None:
    for i, element in enumerate(elements(target)):
        block.write(element, values[:, i], lanes)


def _load_param(width: int, kind: str) -> Handler:
    size = width * num_bytes(kind)

    def load(block: Block, instruction: Instruction, lanes: Lanes) -> None:
        target, source = instruction.operands
        where = addresses(block, source, lanes, ".param")
        check_alignment(where, size)
        if (where + np.uint64(size) > block.params.size).any():
            raise Fault(f"{size} bytes at {where.max()} of parameters of {block.params.size}")
        values = block.params[where.astype(np.int64)[:, None] + np.arange(size)].view(DTYPES[kind])
        _write_columns(block, target, values, lanes)

    return load


def _store(space: str, width: int, kind: str) -> Handler:
    def store(block: Block, instruction: Instruction, lanes: Lanes) -> None:
        target, source = instruction.operands
        memory, where = resolve(block, addresses(block, target, lanes, space), space)
        values = np.empty((where.size, width), DTYPES[kind])
        for i, element in enumerate(elements(source)):
            values[:, i] = block.read(element, kind, lanes)
        memory.write(where, values.view(np.uint8), block.warps(lanes))

    return store


def _atomic(update: Callable[[Array, Array], Array], kind: str, *, wants_old: bool) -> Handler:
    def execute(block: Block, instruction: Instruction, lanes: Lanes) -> None:
        *target, where_operand, operand = instruction.operands
        where, warps = addresses(block, where_operand, lanes, ".global"), block.warps(lanes)
        operands = np.broadcast_to(block.read(operand, kind, lanes), where.shape)
        old = np.empty(where.size, DTYPES[kind])
        # One after another, as the hardware does, in an order of its own.
        for i in range(where.size):
            here, warp = where[i : i + 1], warps[i : i + 1]
            old[i] = block.global_memory.read(here, num_bytes(kind), warp).view(DTYPES[kind])[0, 0]
            new = np.atleast_1d(update(old[i], operands[i]))
            block.global_memory.write(here, new.view(np.uint8)[None], warp)
        if wants_old:
            block.write(target[0], old, lanes)

    return execute


def _with_hint(space: str, hint: str) -> str:
    """A hint follows the space, except for .volatile, which comes before it."""
    return f"{hint}{space}" if hint == ".volatile" else f"{space}{hint}"


def _accesses() -> Iterator[tuple[str, Handler]]:
    for (width_name, width), kind in product(_WIDTHS.items(), _KINDS):
        yield f"ld.param{width_name}.{kind}", _load_param(width, kind)
        for space, hints in _LOAD_HINTS.items():
            for hint in hints:
                yield f"ld{_with_hint(space, hint)}{width_name}.{kind}", _load(space, width, kind)
            for hint in _STORE_HINTS[space]:
                yield f"st{_with_hint(space, hint)}{width_name}.{kind}", _store(space, width, kind)
    for name, (update, kind) in _UPDATES.items():
        yield f"atom.global.{name}", _atomic(update, kind, wants_old=True)
        yield f"red.global.{name}", _atomic(update, kind, wants_old=False)


ACCESSES = dict(_accesses())
