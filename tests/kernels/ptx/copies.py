"""cp.async: copies from global to shared memory that arrive when their group has been waited for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kernels.ptx.access import addresses
from kernels.ptx.block import WARP_SIZE, Block, Handler, Lanes, PendingCopy
from kernels.ptx.code import Immediate, Instruction
from kernels.ptx.errors import Fault, Unsupported


def _copy(block: Block, instruction: Instruction, lanes: Lanes) -> None:
    target, source, size_operand, *rest = instruction.operands
    if not isinstance(size_operand, Immediate) or len(rest) > 1:
        raise Unsupported("cp.async with these operands")
    size = size_operand.value
    where = addresses(block, target, lanes, ".shared")
    origin = addresses(block, source, lanes, ".global")
    # So many bytes are read, the others are zero.
    wanted = block.read(rest[0], "u32", lanes) if rest else np.asarray(np.uint32(size))
    wanted = np.broadcast_to(wanted, where.shape)
    if (wanted > size).any():
        raise Fault(f"cp.async of {wanted.max()} bytes into {size}")
    values = np.zeros((where.size, size), np.uint8)
    partial = (wanted > 0) & (wanted < size)
    if partial.any():
        raise Unsupported("cp.async of a part; the kernels copy all or nothing")
    reads = wanted > 0
    if reads.any():
        values[reads] = block.global_memory.read(origin[reads], size, block.warps(lanes)[reads])
    # Until the wait, a reader finds neither the old content nor the new.
    block.shared_memory.poison(where, size, block.warps(lanes))
    threads = np.arange(block.num_threads)[lanes]
    block.pending_copies.append(PendingCopy(threads, where, values, block.num_copy_groups[threads]))


def _commit(block: Block, instruction: Instruction, lanes: Lanes) -> None:
    block.num_copy_groups[lanes] += 1


def _wait(block: Block, lanes: Lanes, *, num_left: int, is_all: bool) -> None:
    """The copies of these threads arrive, but for those of their last groups."""
    waits = np.zeros(block.num_threads, np.bool_)
    waits[lanes] = True
    still_pending = []
    for copy in block.pending_copies:
        is_committed = copy.groups < block.num_copy_groups[copy.threads] - num_left
        arrives = waits[copy.threads] & (is_committed | is_all)
        if arrives.any():
            warps = copy.threads[arrives] // WARP_SIZE
            block.shared_memory.write(copy.addresses[arrives], copy.values[arrives], warps)
        if not arrives.all():
            rest = ~arrives
            still_pending.append(
                PendingCopy(copy.threads[rest], copy.addresses[rest], copy.values[rest], copy.groups[rest])
            )
    block.pending_copies = still_pending


def _wait_group(block: Block, instruction: Instruction, lanes: Lanes) -> None:
    (count,) = instruction.operands
    assert isinstance(count, Immediate)
    _wait(block, lanes, num_left=count.value, is_all=False)


def _wait_all(block: Block, instruction: Instruction, lanes: Lanes) -> None:
    _wait(block, lanes, num_left=0, is_all=True)


def _copies() -> Iterator[tuple[str, Handler]]:
    for cache in ("ca", "cg"):
        for space in ("shared", "shared::cta"):
            for prefetch in ("", ".L2::64B", ".L2::128B", ".L2::256B"):
                yield f"cp.async.{cache}.{space}.global{prefetch}", _copy
    yield "cp.async.commit_group", _commit
    yield "cp.async.wait_group", _wait_group
    yield "cp.async.wait_all", _wait_all


COPIES = dict(_copies())
