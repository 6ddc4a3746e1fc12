"""Instructions that the lanes of a warp, or the threads of a block, execute together. All have arrived already."""

from __future__ import annotations

import numpy as np

from kernels.ptx.block import WARP_SIZE, Block, Handler, Lanes, elements, require_full_mask
from kernels.ptx.code import Instruction
from kernels.ptx.errors import Unsupported
from kernels.ptx.kinds import Array

_LANE = np.arange(WARP_SIZE)


def _by_warp(block: Block, values: Array, lanes: Lanes) -> Array:
    """One row for each warp."""
    count = block.num_threads if isinstance(lanes, slice) else lanes.size
    return np.broadcast_to(values, (count,)).reshape(-1, WARP_SIZE)


def _shuffle(mode: str) -> Handler:
    def shuffle(block: Block, instruction: Instruction, lanes: Lanes) -> None:
        target, source, lane_operand, clamp_operand, mask = instruction.operands
        require_full_mask(block.read(mask, "u32", lanes))
        values = _by_warp(block, block.read(source, "b32", lanes), lanes)
        operand = _by_warp(block, block.read(lane_operand, "u32", lanes), lanes).astype(np.int64) & 31
        clamp = _by_warp(block, block.read(clamp_operand, "u32", lanes), lanes).astype(np.int64)
        segment, bound = clamp >> 8 & 31, clamp & 31
        last = (_LANE & segment) | (bound & ~segment)
        if mode == "up":
            chosen = _LANE - operand
            is_inside = chosen >= last
        else:
            first = _LANE & segment
            chosen = {"down": _LANE + operand, "bfly": _LANE ^ operand, "idx": first | (operand & ~segment)}[mode]
            is_inside = chosen <= last
        chosen = np.where(is_inside, chosen, _LANE)
        results = (np.take_along_axis(values, chosen, axis=1), is_inside)
        for element, result in zip(elements(target), results, strict=False):
            block.write(element, result.reshape(-1), lanes)

    return shuffle


def _ballot(block: Block, instruction: Instruction, lanes: Lanes) -> None:
    target, source, mask = instruction.operands
    require_full_mask(block.read(mask, "u32", lanes))
    votes = _by_warp(block, block.read(source, "pred", lanes), lanes)
    bits = (votes.astype(np.uint64) << _LANE.astype(np.uint64)).sum(axis=1).astype(np.uint32)
    block.write(target, np.repeat(bits, WARP_SIZE), lanes)


def _vote(mode: str) -> Handler:
    def vote(block: Block, instruction: Instruction, lanes: Lanes) -> None:
        target, source, mask = instruction.operands
        require_full_mask(block.read(mask, "u32", lanes))
        votes = _by_warp(block, block.read(source, "pred", lanes), lanes)
        result = votes.all(axis=1) if mode == "all" else votes.any(axis=1)
        block.write(target, np.repeat(result, WARP_SIZE), lanes)

    return vote


def _sync_warp(block: Block, instruction: Instruction, lanes: Lanes) -> None:
    require_full_mask(block.read(instruction.operands[0], "u32", lanes))


def _sync_block(block: Block, instruction: Instruction, lanes: Lanes) -> None:
    if len(instruction.operands) != 1 or block.read(instruction.operands[0], "u32", lanes) != 0:
        raise Unsupported("a barrier other than that of the whole block")
    block.shared_memory.forget_accesses()


WARP: dict[str, Handler] = {
    **{f"shfl.sync.{mode}.b32": _shuffle(mode) for mode in ("up", "down", "bfly", "idx")},
    "vote.sync.ballot.b32": _ballot,
    "vote.sync.all.pred": _vote("all"),
    "vote.sync.any.pred": _vote("any"),
    "bar.warp.sync": _sync_warp,
}
BLOCK_BARRIERS: dict[str, Handler] = {"bar.sync": _sync_block, "barrier.sync": _sync_block}
