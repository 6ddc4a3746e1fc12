"""The interpreter's ldmatrix and mma.sync, on small programs."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.ptx.floats import float_to_bfloat16
from kernels.ptx_programs import run_program

_LOAD_FRAGMENTS = """
    mov.u32 %r2, dynamic;
    shl.b32 %r3, %r0, 4;
    add.u32 %r2, %r2, %r3;
    cvt.u64.u32 %d2, %r3;
    add.u64 %d3, %d1, %d2;
    ld.global.v4.u32 {{%r10, %r11, %r12, %r13}}, [%d3];
    st.shared.v4.u32 [%r2], {{%r10, %r11, %r12, %r13}};
    ldmatrix.sync.aligned.m8n8.x4{transposition}.shared.b16 {{%r20, %r21, %r22, %r23}}, [%r2];
    add.u64 %d4, %d0, %d2;
    st.global.v4.u32 [%d4], {{%r20, %r21, %r22, %r23}};
"""


@pytest.mark.parametrize("is_transposed", [False, True])
def test_ldmatrix(is_transposed: bool) -> None:
    """Element by element as the PTX ISA's figures have it: lane l gets (l / 4, 2 (l % 4)) and its neighbour."""
    rows = np.arange(32 * 8, dtype=np.uint16)
    source, target = rows.view(np.uint32), np.zeros(128, np.uint32)
    program = _LOAD_FRAGMENTS.format(transposition=".trans" if is_transposed else "")
    run_program(program, target, source, smem_bytes=512)
    got = target.view(np.uint16).reshape(32, 4, 2)
    for lane in range(32):
        for matrix in range(4):
            for half in range(2):
                row, column = lane // 4, 2 * (lane % 4) + half
                if is_transposed:
                    row, column = column, row
                assert got[lane, matrix, half] == rows[matrix * 64 + row * 8 + column]


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_mma(kind: str, depth: int) -> None:
    """Small integers, exact in every type; where an element lies is written down as in the PTX ISA's tables."""
    random = np.random.default_rng(depth)
    a, b, c = (random.integers(-8, 8, shape) for shape in ((16, depth), (depth, 8), (16, 8)))

    def bits(value: int) -> int:
        one = np.array([value], np.float32)
        return int(float_to_bfloat16(one)[0] if kind == "bf16" else one.astype(np.float16).view(np.uint16)[0])

    num_a, num_b = depth // 4, depth // 8
    fragments = np.zeros((32, num_a + num_b + 4), np.uint32)
    for lane in range(32):
        group, pair = lane // 4, lane % 4
        for i in range(2 * num_a):
            row = group + (8 if i // 2 % 2 else 0)
            fragments[lane, i // 2] |= bits(a[row, 2 * pair + i % 2 + (8 if i >= 4 else 0)]) << 16 * (i % 2)
        for i in range(2 * num_b):
            fragments[lane, num_a + i // 2] |= bits(b[2 * pair + i % 2 + (8 if i >= 2 else 0), group]) << 16 * (i % 2)
        for i in range(4):
            value = np.float32(c[group + (8 if i >= 2 else 0), 2 * pair + i % 2])
            fragments[lane, num_a + num_b + i] = value.view(np.uint32)
    names = [f"%r{10 + i}" for i in range(num_a + num_b + 4)]
    columns = fragments.shape[1]
    loads = [f"mad.wide.u32 %d2, %r0, {4 * columns}, %d1;"]
    loads += [f"ld.global.u32 {name}, [%d2+{4 * i}];" for i, name in enumerate(names)]
    groups = (names[:num_a], names[num_a : num_a + num_b], names[num_a + num_b :])
    operands = ", ".join("{" + ", ".join(group) + "}" for group in groups)
    target = np.zeros((32, 4), np.float32)
    program = (
        "\n".join(loads)
        + f"""
        mma.sync.aligned.m16n8k{depth}.row.col.f32.{kind}.{kind}.f32 {{%f1, %f2, %f3, %f4}}, {operands};
        mad.wide.u32 %d2, %r0, 16, %d0;
        st.global.v4.f32 [%d2], {{%f1, %f2, %f3, %f4}};
    """
    )
    run_program(program, target, fragments)
    want = a @ b + c
    for lane in range(32):
        for i in range(4):
            assert target[lane, i] == want[lane // 4 + (8 if i >= 2 else 0), 2 * (lane % 4) + i % 2]
