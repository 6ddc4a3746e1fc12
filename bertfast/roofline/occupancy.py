"""How many blocks of a kernel are on a multiprocessor at a time, as cuda_occupancy.h of the CUDA toolkit counts."""

from __future__ import annotations

from dataclasses import dataclass

from bertfast.roofline.machines import Multiprocessor

_WARP_SIZE = 32


@dataclass(frozen=True)
class Occupancy:
    """``share``: of the warps that a multiprocessor can hold; ``limit``: what there is not enough of for more."""

    blocks: int
    share: float
    limit: str


def occupancy(on: Multiprocessor, threads: int, registers: int, smem_bytes: int) -> Occupancy:
    """Of a kernel with blocks of ``threads``, which need ``registers`` a thread and ``smem_bytes`` a block."""
    warps = -(-threads // _WARP_SIZE)
    warp_registers = _round_up(registers * _WARP_SIZE, on.register_unit)
    warps_by_registers = on.registers // on.partitions // warp_registers * on.partitions
    block_smem = _round_up(smem_bytes + on.reserved_smem_bytes, on.smem_unit_bytes)
    blocks_by_limit = {
        "blocks": on.max_blocks,
        "warps": on.max_warps // warps,
        "registers": warps_by_registers // warps,
        "shared memory": on.smem_bytes // block_smem if block_smem else on.max_blocks,
    }
    limit = min(blocks_by_limit, key=lambda name: blocks_by_limit[name])
    blocks = blocks_by_limit[limit]
    return Occupancy(blocks, blocks * warps / on.max_warps, limit)


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
