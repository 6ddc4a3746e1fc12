"""Small PTX programs for the tests of the interpreter itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.ptx import GlobalMemory, Launch, Module, run_launch
from kernels.ptx.kinds import DTYPES, Array, num_bytes

_REGISTERS = """
    .reg .pred %p<16>; .reg .b16 %h<32>; .reg .b32 %r<64>; .reg .f32 %f<64>; .reg .b64 %d<64>;
    .shared .align 16 .b8 fixed[64];
"""


def run_program(body: str, *arrays: Array, threads: int = 32, smem_bytes: int = 0) -> None:
    """Run statements as a kernel. %d0, %d1, ... hold the addresses of the arrays, %r0 the thread's number."""
    params = ", ".join(f".param .u64 p{i}" for i in range(len(arrays)))
    loads = "".join(f"ld.param.u64 %d{i}, [p{i}];\n" for i in range(len(arrays)))
    text = f"""
        .version 9.0
        .target sm_80
        .extern .shared .align 16 .b8 dynamic[];
        .visible .entry test({params})
        .maxntid {threads}
        {{
            {_REGISTERS}
            {loads}
            mov.u32 %r0, %tid.x;
            {body}
            ret;
        }}
    """
    memory = GlobalMemory()
    for i, array in enumerate(arrays):
        memory.add(f"array {i}", array)
    addresses = np.array([array.ctypes.data for array in arrays], np.uint64).tobytes()
    run_launch(Module(text)["test"], Launch((1, 1, 1), (threads, 1, 1), smem_bytes, addresses), memory)


def evaluate(instruction: str, result: str, kinds: tuple[str, ...], *operands: Array) -> Array:
    """``instruction`` of operands of the given kinds, one thread for each row."""
    count = len(operands[0])
    threads = -(-count // 32) * 32
    target = np.zeros(threads, np.uint32 if result == "pred" else DTYPES[result])
    sources = [np.resize(np.asarray(row, DTYPES[kind]), threads) for kind, row in zip(kinds, operands, strict=True)]
    lines = []
    for i, (kind, source) in enumerate(zip(kinds, sources, strict=True), 1):
        lines.append(f"mad.wide.u32 %d20, %r0, {source.itemsize}, %d{i};")
        lines.append(f"ld.global.b{8 * source.itemsize} {_register(kind, i)}, [%d20];")
    names = ", ".join(_register(kind, i) for i, kind in enumerate(kinds, 1))
    opcode, _, immediates = instruction.partition(" ")
    lines.append(f"{opcode} {_register(result, 9)}, {names}{immediates};")
    stored = _register(result, 9)
    if result == "pred":
        lines.append(f"selp.b32 %r1, 1, 0, {stored};")
        stored = "%r1"
    lines.append(f"mad.wide.u32 %d20, %r0, {target.itemsize}, %d0;")
    lines.append(f"st.global.b{8 * target.itemsize} [%d20], {stored};")
    run_program("\n".join(lines), target, *sources, threads=threads)
    return target[:count]


def _register(kind: str, number: int) -> str:
    """A register that holds a value of the kind, and that nothing else here uses."""
    if kind in ("pred", "f32"):
        return f"%{kind[0]}{number}"
    return {2: f"%h{number}", 4: f"%r{number + 40}", 8: f"%d{number + 40}"}[num_bytes(kind)]


def stored_by_lane(value: str, **options: Any) -> Array:
    """What each of 32 lanes has in %r1 after running ``value``."""
    target = np.zeros(options.get("threads", 32), np.uint32)
    run_program(f"{value}\nmad.wide.u32 %d20, %r0, 4, %d0;\nst.global.u32 [%d20], %r1;", target, **options)
    return target
