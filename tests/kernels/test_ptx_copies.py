"""The interpreter's asynchronous copies, on small programs."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.ptx import Fault
from kernels.ptx.kinds import Array
from kernels.ptx_programs import run_program

_LANE = np.arange(32)

_COPY = """
    mov.u32 %r2, dynamic;
    shl.b32 %r3, %r0, 4;
    add.u32 %r2, %r2, %r3;
    cvt.u64.u32 %d2, %r3;
    add.u64 %d3, %d1, %d2;
"""


def _copied(program: str) -> Array:
    source = np.arange(128, dtype=np.uint32)
    target = np.zeros(32, np.uint32)
    store = "ld.shared.u32 %r1, [%r2];\nmad.wide.u32 %d20, %r0, 4, %d0;\nst.global.u32 [%d20], %r1;"
    run_program(f"{_COPY}{program}{store}", target, source, smem_bytes=1024)
    return target


def test_copies_arrive_with_their_wait() -> None:
    issue = "cp.async.cg.shared.global [%r2], [%d3], 16;\ncp.async.commit_group;\n"
    assert (_copied(issue + "cp.async.wait_group 0;\n") == 4 * _LANE).all()
    assert (_copied("cp.async.ca.shared.global [%r2], [%d3], 16;\ncp.async.wait_all;\n") == 4 * _LANE).all()
    other = "cp.async.cg.shared.global [%r2+512], [%d3], 16;\ncp.async.commit_group;\n"
    late = "ld.shared.u32 %r5, [%r2];\ncp.async.wait_group 0;\nst.shared.u32 [%r2], %r5;\n"
    assert (_copied(issue + other + "cp.async.wait_group 1;\n" + late) == 4 * _LANE).all()
    assert (_copied(issue + late) == 0xFFFFFFFF).all()


def test_copies_of_nothing_are_zeros() -> None:
    program = "setp.lt.u32 %p1, %r0, 3;\nselp.b32 %r5, 16, 0, %p1;\n"
    program += "cp.async.cg.shared.global [%r2], [%d3], 16, %r5;\ncp.async.wait_all;\n"
    assert _copied(program).tolist() == [0, 4, 8] + [0] * 29


def test_copies_are_waited_for() -> None:
    with pytest.raises(Fault, match="nobody has waited for"):
        _copied("cp.async.cg.shared.global [%r2], [%d3], 16;\n")
    with pytest.raises(Fault, match="nobody has waited for"):
        _copied("cp.async.cg.shared.global [%r2], [%d3], 16;\ncp.async.wait_group 0;\n")
