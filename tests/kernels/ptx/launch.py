"""A launch: a kernel, its grid, and the bytes of its parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernels.ptx.block import WARP_SIZE, Block
from kernels.ptx.code import Kernel
from kernels.ptx.errors import Fault
from kernels.ptx.kinds import Array
from kernels.ptx.memory import GlobalMemory
from kernels.ptx.scheduler import Scheduler, check_instructions

Extent = tuple[int, int, int]


@dataclass(frozen=True)
class Launch:
    """``params``: as the kernel reads them, one after another."""

    grid: Extent
    block: Extent
    smem_bytes: int
    params: bytes


def run_launch(kernel: Kernel, launch: Launch, memory: GlobalMemory) -> None:
    """Run every block, one after another. Raises Fault for what a GPU would punish or leave undefined."""
    check_instructions(kernel.instructions)
    num_threads = int(np.prod(launch.block))
    if num_threads > kernel.max_threads:
        raise Fault(f"{num_threads} threads launched, compiled for {kernel.max_threads} at most")
    if len(launch.params) != kernel.params_bytes:
        raise Fault(f"{len(launch.params)} bytes of parameters, {kernel.name} reads {kernel.params_bytes}")
    for name, array in kernel.constants.items():
        memory.add(name, array)
    params = np.frombuffer(launch.params, np.uint8)
    with np.errstate(all="ignore"):
        for index in np.ndindex(launch.grid[::-1]):
            specials = _special_registers(launch, index[::-1], num_threads)
            block = Block(kernel, num_threads, specials, params, memory, launch.smem_bytes)
            try:
                Scheduler(block).run()
            except Fault as fault:
                raise Fault(f"{fault} [block {index[::-1]}]") from fault


def _special_registers(launch: Launch, index: tuple[int, ...], num_threads: int) -> dict[str, Array]:
    thread = np.arange(num_threads, dtype=np.uint32)
    width, height, _ = launch.block
    coordinates = (thread % width, thread // width % height, thread // (width * height))
    specials = {"%laneid": thread % WARP_SIZE, "%warpid": thread // WARP_SIZE}
    for axis, coordinate, size, blocks, mine in zip("xyz", coordinates, launch.block, launch.grid, index, strict=True):
        specials[f"%tid.{axis}"] = coordinate.astype(np.uint32)
        specials[f"%ntid.{axis}"] = np.full(num_threads, size, np.uint32)
        specials[f"%nctaid.{axis}"] = np.full(num_threads, blocks, np.uint32)
        specials[f"%ctaid.{axis}"] = np.full(num_threads, mine, np.uint32)
    return specials
