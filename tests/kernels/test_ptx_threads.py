"""The interpreter's threads, memories and warps, on small programs."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.ptx import Fault, GlobalMemory, Launch, Module, Unsupported, run_launch
from kernels.ptx.kinds import Array
from kernels.ptx_programs import run_program, stored_by_lane

_LANE = np.arange(32)


def test_unknown_opcode_names_its_line() -> None:
    with pytest.raises(Unsupported, match=r"line \d+: frobnicate.f32 %f1, %f2: unknown opcode frobnicate.f32"):
        run_program("frobnicate.f32 %f1, %f2;")
    with pytest.raises(Unsupported, match=r"unknown opcode add\.sat\.f32"):
        run_program("bra end;\nadd.sat.f32 %f1, %f2, %f3;\nend:")


def test_guards() -> None:
    program = "setp.lt.u32 %p1, %r0, 5;\nmov.u32 %r1, 1;\n@%p1 mov.u32 %r1, 2;\n@!%p1 add.u32 %r1, %r1, 2;"
    assert stored_by_lane(program).tolist() == [2] * 5 + [3] * 27


def test_threads_part_and_meet_again() -> None:
    """Every lane loops as often as its number says; the shuffle afterwards needs all of them."""
    program = """
        mov.u32 %r1, 0;
        setp.eq.u32 %p1, %r0, 0;
        @%p1 bra done;
    again:
        add.u32 %r1, %r1, 2;
        add.u32 %r2, %r1, 0;
        shr.u32 %r2, %r2, 1;
        setp.lt.u32 %p2, %r2, %r0;
        @%p2 bra again;
    done:
        shfl.sync.bfly.b32 %r1, %r1, 1, 31, -1;
    """
    assert stored_by_lane(program).tolist() == (2 * (_LANE ^ 1)).tolist()


def test_scopes_have_registers_of_their_own() -> None:
    program = """
        { .reg .b32 t; mov.b32 t, 5; { .reg .b32 t; mov.b32 t, 7; } mov.b32 %r1, t; }
        { .reg .b32 t; mov.b32 t, 9; add.s32 %r1, %r1, t; }
    """
    assert (stored_by_lane(program) == 14).all()


@pytest.mark.parametrize(
    ("mode", "operand", "clamp", "want"),
    [
        ("bfly", 4, 31, _LANE ^ 4),
        ("down", 3, 31, np.where(_LANE + 3 < 32, _LANE + 3, _LANE)),
        ("up", 3, 0, np.where(_LANE >= 3, _LANE - 3, _LANE)),
        ("idx", 9, 31, np.full(32, 9)),
        ("idx", 1, 0x181F, _LANE // 8 * 8 + 1),
    ],
)
def test_shuffles(mode: str, operand: int, clamp: int, want: Array) -> None:
    assert stored_by_lane(f"shfl.sync.{mode}.b32 %r1, %r0, {operand}, {clamp}, -1;").tolist() == want.tolist()


def test_shuffle_says_whether_the_lane_was_inside() -> None:
    program = "shfl.sync.up.b32 %r2|%p1, %r0, 3, 0, -1;\nselp.b32 %r1, 1, 0, %p1;"
    assert stored_by_lane(program).tolist() == [0] * 3 + [1] * 29


def test_votes() -> None:
    odd = "and.b32 %r2, %r0, 1;\nsetp.eq.u32 %p1, %r2, 1;\n"
    assert (stored_by_lane(odd + "vote.sync.ballot.b32 %r1, %p1, -1;") == 0xAAAAAAAA).all()
    assert (stored_by_lane(odd + "vote.sync.any.pred %p2, %p1, -1;\nselp.b32 %r1, 1, 0, %p2;") == 1).all()
    assert (stored_by_lane(odd + "vote.sync.all.pred %p2, %p1, -1;\nselp.b32 %r1, 1, 0, %p2;") == 0).all()


def test_half_a_warp_does_not_shuffle() -> None:
    with pytest.raises(Fault, match=r"deadlock: 16 threads wait at line \d+: .*shfl.sync"):
        run_program("setp.lt.u32 %p1, %r0, 16;\n@%p1 shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;")
    with pytest.raises(Fault, match="not the whole warp"):
        run_program("shfl.sync.bfly.b32 %r1, %r0, 1, 31, 65535;")


def test_barrier_waits_for_the_whole_block() -> None:
    with pytest.raises(Fault, match=r"deadlock: 32 threads wait at line \d+: .*bar.sync"):
        run_program("setp.lt.u32 %p1, %r0, 32;\n@!%p1 bra end;\nbar.sync 0;\nend:", threads=64)


_EXCHANGE = """
    mov.u32 %r2, dynamic;
    shl.b32 %r3, %r0, 2;
    add.u32 %r4, %r2, %r3;
    st.shared.u32 [%r4], %r0;
    {barrier}
    xor.b32 %r3, %r3, {other};
    add.u32 %r4, %r2, %r3;
    ld.shared.u32 %r1, [%r4];
"""


def test_shared_memory_passes_values_on() -> None:
    program = _EXCHANGE.format(barrier="bar.sync 0;", other=128)
    assert stored_by_lane(program, threads=64, smem_bytes=256).tolist() == (np.arange(64) ^ 32).tolist()


def test_race_between_warps() -> None:
    # The dynamic part begins behind the 64 bytes of `fixed`.
    with pytest.raises(Fault, match="race: byte 192 of shared memory was written by another warp"):
        stored_by_lane(_EXCHANGE.format(barrier="", other=128), threads=64, smem_bytes=256)
    stored_by_lane(_EXCHANGE.format(barrier="", other=4), threads=64, smem_bytes=256)
    with pytest.raises(Fault, match="read by another warp"):
        run_program(
            "ld.shared.u32 %r1, [fixed];\nsetp.eq.u32 %p1, %r0, 0;\n@%p1 st.shared.u32 [fixed], %r0;", threads=64
        )


def test_shared_memory_starts_as_nan() -> None:
    assert np.isnan(stored_by_lane("ld.shared.u32 %r1, [fixed+8];").view(np.float32)).all()


def test_shared_addresses_as_generic_ones() -> None:
    program = """
        mov.u64 %d1, dynamic;
        cvta.shared.u64 %d2, %d1;
        mad.wide.u32 %d2, %r0, 4, %d2;
        st.u32 [%d2], %r0;
        cvta.to.shared.u64 %d3, %d2;
        cvt.u32.u64 %r2, %d3;
        ld.shared.u32 %r1, [%r2];
    """
    assert stored_by_lane(program, smem_bytes=128).tolist() == _LANE.tolist()


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        ("ld.global.u32 %r1, [%d0+2];", "misaligned access to 4 bytes"),
        ("ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%d0+8];", "misaligned access to 16 bytes"),
        ("ld.global.u32 %r1, [%d0+64];", r"out of bounds: 4 bytes at 64 of array 0 \(64 bytes\)"),
        ("st.global.u32 [%d1], %r0;", "write to array 1, which is for reading only"),
        ("ld.shared.u32 %r1, [fixed+64];", "shared access out of bounds: 4 bytes at 64 of 64"),
        ("st.shared.u32 [fixed+2], %r0;", "misaligned"),
        ("trap;", "trap"),
    ],
)
def test_wrong_accesses(program: str, complaint: str) -> None:
    raw = np.zeros(96, np.uint8)
    data = raw[-raw.ctypes.data % 16 :][:64]
    constant = np.zeros(16, np.uint32)
    constant.flags.writeable = False
    with pytest.raises(Fault, match=rf"line \d+: {program.split()[0].rstrip(';')}.*{complaint}.*block \(0, 0, 0\)"):
        run_program(program, data, constant)


def test_atomics_miss_nobody() -> None:
    counter = np.array([0, 5], np.uint32)
    program = """
        atom.global.add.u32 %r1, [%d0+4], 2;
        shl.b32 %r2, 1, %r0;
        red.global.or.b32 [%d0], %r2;
        mad.wide.u32 %d20, %r0, 4, %d1;
        st.global.u32 [%d20], %r1;
    """
    seen = np.zeros(32, np.uint32)
    run_program(program, counter, seen)
    assert counter.tolist() == [0xFFFFFFFF, 5 + 2 * 32]
    assert sorted(seen.tolist()) == list(range(5, 5 + 2 * 32, 2))


def test_dimensions_of_a_launch() -> None:
    text = """
    .visible .entry where(.param .align 8 .b8 params[16]) {
        .reg .b32 %r<9>; .reg .b64 %d<4>;
        ld.param.u64 %d1, [params];
        ld.param.u32 %r8, [params+8];
        mov.u32 %r1, %ctaid.y; mov.u32 %r2, %nctaid.x; mov.u32 %r3, %ctaid.x; mad.lo.s32 %r1, %r1, %r2, %r3;
        mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x; mad.lo.s32 %r1, %r1, %r4, %r5;
        mul.wide.u32 %d2, %r1, 4; add.s64 %d1, %d1, %d2; add.s32 %r1, %r1, %r8; st.global.u32 [%d1], %r1;
        ret;
    }"""
    target = np.zeros(3 * 2 * 64, np.uint32)
    memory = GlobalMemory()
    memory.add("target", target)
    params = np.array([target.ctypes.data, 5], np.uint64).tobytes()
    run_launch(Module(text)["where"], Launch((3, 2, 1), (64, 1, 1), 0, params), memory)
    assert (target == np.arange(target.size) + 5).all()
    with pytest.raises(Fault, match="12 bytes of parameters"):
        run_launch(Module(text)["where"], Launch((1, 1, 1), (64, 1, 1), 0, params[:12]), memory)
