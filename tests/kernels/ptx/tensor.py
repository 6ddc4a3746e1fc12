"""ldmatrix and mma: a warp's work on small matrices, whose elements are dealt to its lanes (PTX ISA, 9.7.14)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from kernels.ptx.access import addresses
from kernels.ptx.block import WARP_SIZE, Block, Handler, Lanes, elements
from kernels.ptx.code import Instruction, Operand
from kernels.ptx.floats import bfloat16_to_float
from kernels.ptx.kinds import Array

_ROW_BYTES = 16
# Lane l holds row l / 4, columns 2 (l % 4) and the next, of an 8x8 matrix.
_ROW = np.arange(WARP_SIZE) // 4
_COLUMN = np.arange(WARP_SIZE) % 4 * 2


def _load_matrices(count: int, *, is_transposed: bool) -> Handler:
    def load(block: Block, instruction: Instruction, lanes: Lanes) -> None:
        target, source = instruction.operands
        # Lane 8 m + r names row r of matrix m; the addresses of other lanes do not matter.
        where = addresses(block, source, lanes, ".shared").reshape(-1, WARP_SIZE)[:, : 8 * count]
        warps = block.warps(lanes).reshape(-1, WARP_SIZE)[:, : 8 * count]
        rows = block.shared_memory.read(where.reshape(-1), _ROW_BYTES, warps.reshape(-1))
        matrices = np.ascontiguousarray(rows).view(np.uint16).reshape(-1, count, 8, 8)
        if is_transposed:
            matrices = matrices.swapaxes(2, 3)
        low, high = matrices[:, :, _ROW, _COLUMN], matrices[:, :, _ROW, _COLUMN + 1]
        fragments = low.astype(np.uint32) | high.astype(np.uint32) << np.uint32(16)
        for i, element in enumerate(elements(target)):
            block.write(element, fragments[:, i].reshape(-1), lanes)

    return load


def _half_bits_to_float(bits: Array) -> Array:
    return bits.astype(np.uint16).view(np.float16).astype(np.float32)


Convert = Callable[[Array], Array]


def _pairs(block: Block, operand: Operand, lanes: Lanes, convert: Convert) -> list[tuple[Array, Array]]:
    """The two 16-bit values in each register: [warps, 32] each, as floats."""
    pairs = []
    for element in elements(operand):
        bits = block.read(element, "b32", lanes).reshape(-1, WARP_SIZE)
        pairs.append((convert(bits & np.uint32(0xFFFF)), convert(bits >> np.uint32(16))))
    return pairs


def _multiply(depth: int, convert: Convert) -> Handler:
    """D = A B + C with A [16, depth], B [depth, 8], C and D [16, 8] in float."""

    def multiply(block: Block, instruction: Instruction, lanes: Lanes) -> None:
        d, a, b, c = instruction.operands
        a_pairs, b_pairs = _pairs(block, a, lanes, convert), _pairs(block, b, lanes, convert)
        warps = a_pairs[0][0].shape[0]
        matrix_a, matrix_b = np.zeros((warps, 16, depth)), np.zeros((warps, depth, 8))
        for i, (low, high) in enumerate(a_pairs):  # upper left, lower left, upper right, lower right
            matrix_a[:, _ROW + 8 * (i % 2), _COLUMN + 8 * (i // 2)] = low
            matrix_a[:, _ROW + 8 * (i % 2), _COLUMN + 8 * (i // 2) + 1] = high
        for i, (low, high) in enumerate(b_pairs):
            matrix_b[:, _COLUMN + 8 * i, _ROW] = low
            matrix_b[:, _COLUMN + 8 * i + 1, _ROW] = high
        sums = matrix_a @ matrix_b
        for i, (target, addend) in enumerate(zip(elements(d), elements(c), strict=True)):
            old = np.broadcast_to(block.read(addend, "f32", lanes), (warps * WARP_SIZE,)).reshape(warps, WARP_SIZE)
            # The products are exact in float64; one rounding, where the hardware has several of its own.
            new = old + sums[:, _ROW + 8 * (i // 2), _COLUMN + i % 2]
            block.write(target, new.astype(np.float32).reshape(-1), lanes)

    return multiply


def _tensor() -> Iterator[tuple[str, Handler]]:
    for count in (1, 2, 4):
        for transposition in ("", ".trans"):
            for space in ("shared", "shared::cta"):
                name = f"ldmatrix.sync.aligned.m8n8.x{count}{transposition}.{space}.b16"
                yield name, _load_matrices(count, is_transposed=bool(transposition))
    for kind, convert in {"f16": _half_bits_to_float, "bf16": bfloat16_to_float}.items():
        for depth in (8, 16):
            name = f"mma.sync.aligned.m16n8k{depth}.row.col.f32.{kind}.{kind}.f32"
            yield name, _multiply(depth, convert)


TENSOR = dict(_tensor())
