"""The interpreter's instructions on values, against plain Python integers and exact fractions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.ptx import floats
from kernels.ptx.kinds import Array
from kernels.ptx_programs import evaluate

_RANDOM = np.random.default_rng(7)
_EDGES = np.array([0, 1, 2, 31, 32, 33, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x80FF7F01], np.uint32)
_WORDS = np.concatenate([np.repeat(_EDGES, len(_EDGES)), _RANDOM.integers(0, 2**32, 100, np.uint32)])
_OTHERS = np.concatenate([np.tile(_EDGES, len(_EDGES)), _RANDOM.integers(0, 2**32, 100, np.uint32)])


def _signed(value: int, bits: int = 32) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def _towards_zero(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _permuted(a: int, b: int, selector: int) -> int:
    pool = (a | b << 32).to_bytes(8, "little")
    chosen = [selector >> 4 * i & 15 for i in range(4)]
    signs = [0xFF if pool[c & 7] & 0x80 else 0 for c in chosen]
    return int.from_bytes(bytes(s if c & 8 else pool[c & 7] for c, s in zip(chosen, signs, strict=True)), "little")


def _inserted(field: int, value: int, position: int, length: int) -> int:
    mask = ((1 << length) - 1) << position
    return field << position & mask | value & ~mask


# Instruction, kinds of its operands, kind of its result, and the same in Python.
_INTEGER_CASES: tuple[tuple[str, tuple[str, ...], str, Callable[..., int | None]], ...] = (
    ("add.s32", ("s32", "s32"), "u32", lambda a, b: a + b),
    ("sub.s32", ("s32", "s32"), "u32", lambda a, b: a - b),
    ("mul.lo.s32", ("s32", "s32"), "u32", lambda a, b: a * b),
    ("mul.hi.s32", ("s32", "s32"), "u32", lambda a, b: _signed(a) * _signed(b) >> 32),
    ("mul.hi.u32", ("u32", "u32"), "u32", lambda a, b: a * b >> 32),
    ("mul.wide.s32", ("s32", "s32"), "u64", lambda a, b: _signed(a) * _signed(b)),
    ("mul.wide.u32", ("u32", "u32"), "u64", lambda a, b: a * b),
    ("min.s32", ("s32", "s32"), "u32", lambda a, b: min(_signed(a), _signed(b))),
    ("max.u32", ("u32", "u32"), "u32", max),
    ("div.s32", ("s32", "s32"), "u32", lambda a, b: _towards_zero(_signed(a), _signed(b)) if b else None),
    (
        "rem.s32",
        ("s32", "s32"),
        "u32",
        lambda a, b: _signed(a) - _towards_zero(_signed(a), _signed(b)) * _signed(b) if b else None,
    ),
    ("div.u32", ("u32", "u32"), "u32", lambda a, b: a // b if b else None),
    ("shl.b32", ("b32", "u32"), "u32", lambda a, n: a << n if n < 32 else 0),
    ("shr.u32", ("u32", "u32"), "u32", lambda a, n: a >> n if n < 32 else 0),
    ("shr.s32", ("s32", "u32"), "u32", lambda a, n: _signed(a) >> min(n, 31)),
    ("and.b32", ("b32", "b32"), "u32", lambda a, b: a & b),
    ("xor.b32", ("b32", "b32"), "u32", lambda a, b: a ^ b),
    ("prmt.b32", ("b32", "b32", "b32"), "u32", _permuted),
    ("shf.l.wrap.b32", ("b32", "b32", "b32"), "u32", lambda a, b, n: (b << 32 | a) << (n & 31) >> 32),
    ("shf.r.wrap.b32", ("b32", "b32", "b32"), "u32", lambda a, b, n: (b << 32 | a) >> (n & 31)),
    ("bfe.u32", ("u32", "u32", "u32"), "u32", lambda a, p, n: (a >> (p & 255)) & ((1 << (n & 255)) - 1)),
    ("bfi.b32", ("b32", "b32", "u32", "u32"), "u32", lambda f, v, p, n: _inserted(f, v, p & 255, n & 255)),
    ("popc.b32", ("b32",), "u32", lambda a: a.bit_count()),
    ("clz.b32", ("b32",), "u32", lambda a: 32 - a.bit_length()),
    ("cvt.s64.s32", ("s32",), "u64", _signed),
    ("cvt.u64.u32", ("u32",), "u64", lambda a: a),
    ("cvt.u16.u32", ("u32",), "u16", lambda a: a),
    ("setp.lt.s32", ("s32", "s32"), "pred", lambda a, b: _signed(a) < _signed(b)),
    ("setp.lt.u32", ("u32", "u32"), "pred", lambda a, b: a < b),
    ("setp.ne.b32", ("b32", "b32"), "pred", lambda a, b: a != b),
)


@pytest.mark.parametrize("case", _INTEGER_CASES, ids=lambda case: case[0])
def test_integers(case: tuple[str, tuple[str, ...], str, Callable[..., int | None]]) -> None:
    instruction, kinds, result, function = case
    rows = [_WORDS, _OTHERS, _RANDOM.permutation(_OTHERS), _RANDOM.permutation(_WORDS)][: len(kinds)]
    got = evaluate(
        instruction,
        result,
        kinds,
        *(row.view(np.int32) if k == "s32" else row for k, row in zip(kinds, rows, strict=True)),
    )
    bits = {"u16": 16, "u64": 64}.get(result, 32)
    for value, *operands in zip(got.tolist(), *(row.tolist() for row in rows), strict=True):
        want = function(*operands)
        assert want is None or value == int(want) % (1 << bits), operands


def test_lop3_is_any_function_of_three_bits() -> None:
    a, b, c = _WORDS, _OTHERS, _RANDOM.permutation(_OTHERS)
    tables = {0x80: a & b & c, 0xFE: a | b | c, 0x96: a ^ b ^ c, 0xEA: (a & b) | c, 0xE2: (a & b) | (~b & c), 0x0F: ~a}
    for table, want in tables.items():
        assert (evaluate(f"lop3.b32 , {table}", "u32", ("b32",) * 3, a, b, c) == want).all(), hex(table)


_FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(_FLOATS, _FLOATS, _FLOATS)
def test_fused_multiply_add_rounds_once(a: float, b: float, c: float) -> None:
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    got = float(
        floats.fused_multiply_add(np.array([a], np.float32), np.array([b], np.float32), np.array([c], np.float32))[0]
    )
    if np.isinf(got):
        assert abs(exact) >= Fraction(float(np.finfo(np.float32).max))
        return
    error = abs(Fraction(got) - exact)
    for direction in (-np.inf, np.inf):
        neighbour = float(np.nextafter(np.float32(got), np.float32(direction)))
        if np.isfinite(neighbour):
            assert error <= abs(Fraction(neighbour) - exact)


def test_fused_multiply_add_is_not_two_roundings() -> None:
    """The product is just above a tie, by less than float64 keeps beside it."""
    a, b, c = np.array([1 + 2**-12], np.float32), np.array([1 + 2**-12], np.float32), np.array([2**-60], np.float32)
    tie = np.float64(a[0]) * np.float64(b[0])  # 1 + 2^-11 + 2^-24: halfway between two floats
    assert tie + 2**-60 == tie
    assert floats.fused_multiply_add(a, b, c)[0] == np.float32(1 + 2**-11 + 2**-23)
    assert floats.fused_multiply_add(a, b, -c)[0] == np.float32(1 + 2**-11)


def test_bfloat16_rounds_to_even() -> None:
    def round_trip(value: float) -> float:
        return float(floats.bfloat16_to_float(floats.float_to_bfloat16(np.array([value], np.float32)))[0])

    assert round_trip(1 + 2**-8) == 1
    assert round_trip(1 + 3 * 2**-8) == 1 + 2**-6
    assert round_trip(1 + 2**-8 + 2**-20) == 1 + 2**-7
    assert round_trip(3.4e38) == np.inf
    assert np.isnan(round_trip(np.nan))


def test_packed_conversions_put_the_first_source_on_top() -> None:
    first, second = np.array([1.5], np.float32), np.array([-2.0], np.float32)
    assert evaluate("cvt.rn.f16x2.f32", "u32", ("f32", "f32"), first, second)[0] == 0x3E00C000
    assert evaluate("cvt.rn.bf16x2.f32", "u32", ("f32", "f32"), first, second)[0] == 0x3FC0C000


_SPECIAL = np.array([0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3e38], np.float32)


def test_float_comparisons_with_nan() -> None:
    a, b = np.repeat(_SPECIAL, len(_SPECIAL)), np.tile(_SPECIAL, len(_SPECIAL))
    unordered = np.isnan(a) | np.isnan(b)
    for name, function in {"lt": np.less, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal}.items():
        assert (evaluate(f"setp.{name}.f32", "pred", ("f32", "f32"), a, b) == (function(a, b) & ~unordered)).all(), name
        assert (evaluate(f"setp.{name}u.f32", "pred", ("f32", "f32"), a, b) == (function(a, b) | unordered)).all(), name


def test_minimum_prefers_numbers() -> None:
    def pair(instruction: str) -> Array:
        return evaluate(
            instruction, "f32", ("f32", "f32"), np.array([np.nan, 2.0], np.float32), np.array([1.0, np.nan], np.float32)
        )

    assert pair("min.f32").tolist() == [1.0, 2.0]
    assert np.isnan(pair("max.NaN.f32")).all()


def test_flushing_is_asked_for() -> None:
    subnormal = np.array([1e-40], np.float32)
    assert evaluate("add.f32", "f32", ("f32", "f32"), subnormal, subnormal)[0] > 0
    assert evaluate("ex2.approx.ftz.f32", "f32", ("f32",), np.array([-130.0], np.float32))[0] == 0
    assert evaluate("ex2.approx.f32", "f32", ("f32",), np.array([-130.0], np.float32))[0] > 0


def test_floats_to_integers_saturate() -> None:
    values = np.array([2.5, -2.5, 3e9, -3e9, np.nan, np.inf], np.float32)
    assert evaluate("cvt.rzi.s32.f32", "s32", ("f32",), values).tolist() == [2, -2, 2**31 - 1, -(2**31), 0, 2**31 - 1]
    assert evaluate("cvt.rni.u32.f32", "u32", ("f32",), values).tolist() == [2, 0, 3000000000, 0, 0, 2**32 - 1]


def test_approximate_division_loses_huge_divisors() -> None:
    quotient = evaluate(
        "div.approx.f32", "f32", ("f32", "f32"), np.array([6.0, 1e38], np.float32), np.array([3.0, 1e38], np.float32)
    )
    assert quotient.tolist() == [2.0, 0.0]
