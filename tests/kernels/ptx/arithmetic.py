"""Instructions that compute one value from a few others, thread by thread.

The names follow the PTX ISA. A float instruction without .ftz keeps subnormals, as numpy does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from kernels.ptx import floats
from kernels.ptx.block import Block, Lanes
from kernels.ptx.code import Instruction
from kernels.ptx.kinds import DTYPES, Array, num_bytes

Function = Callable[..., Array]


@dataclass(frozen=True)
class Elementwise:
    """How the operands are read, what is made of them, and what that is."""

    function: Function
    result: str
    operands: tuple[str, ...]

    def __call__(self, block: Block, instruction: Instruction, lanes: Lanes) -> None:
        target, *sources = instruction.operands
        if len(sources) != len(self.operands):
            raise ValueError(f"{len(sources)} operands, expected {len(self.operands)}")
        values = (block.read(source, kind, lanes) for source, kind in zip(sources, self.operands, strict=True))
        block.write(target, np.asarray(self.function(*values), DTYPES[self.result]), lanes)


def _same(function: Function, kind: str, count: int) -> Elementwise:
    return Elementwise(function, kind, (kind,) * count)


_INTEGERS = ("u16", "s16", "u32", "s32", "u64", "s64")
_WIDER = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}
_BITS = ("b16", "b32", "b64")
_LESS: dict[str, Function] = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}
_EQUAL: dict[str, Function] = {"eq": np.equal, "ne": np.not_equal}


def _shift_left(value: Array, amount: Array) -> Array:
    return _clamped(np.left_shift, value, amount)


def _shift_right(value: Array, amount: Array) -> Array:
    return _clamped(np.right_shift, value, amount)


def _clamped(shift: Function, value: Array, amount: Array) -> Array:
    """A shift by the width or more leaves nothing, or only signs."""
    width = 8 * value.dtype.itemsize
    inside = shift(value, np.minimum(amount, width - 1).astype(value.dtype))
    signs = np.where(value < 0, value.dtype.type(-1), value.dtype.type(0)) if value.dtype.kind == "i" else 0 * value
    return np.where(amount < width, inside, signs if shift is np.right_shift else 0 * value)


def _high_half(kind: str) -> Function:
    wide, bits = DTYPES[_WIDER[kind]], 8 * num_bytes(kind)

    def multiply(a: Array, b: Array) -> Array:
        return (a.astype(wide) * b.astype(wide) >> wide.type(bits)).astype(DTYPES[kind])

    return multiply


def _wide_product(kind: str) -> Function:
    wide = DTYPES[_WIDER[kind]]
    return lambda a, b: a.astype(wide) * b.astype(wide)


def _divide(a: Array, b: Array) -> Array:
    """Towards zero; numpy's rounds down."""
    quotient = a // b
    return quotient + ((a < 0) != (b < 0)) * (quotient * b != a) if a.dtype.kind == "i" else quotient


def _remainder(a: Array, b: Array) -> Array:
    return a - _divide(a, b) * b


_INTEGER_PAIRS: dict[str, Function] = {
    "add": np.add,
    "sub": np.subtract,
    "mul.lo": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "div": _divide,
    "rem": _remainder,
}
_APPROXIMATIONS: dict[str, Function] = {
    "ex2": floats.exp2,
    "lg2": floats.log2,
    "rsqrt": floats.rsqrt,
    "rcp": np.reciprocal,
}


def _integer() -> Iterator[tuple[str, Elementwise]]:
    for kind in _INTEGERS:
        for name, function in _INTEGER_PAIRS.items():
            yield f"{name}.{kind}", _same(function, kind, 2)
        yield f"mad.lo.{kind}", _same(lambda a, b, c: a * b + c, kind, 3)
        yield f"shr.{kind}", Elementwise(_shift_right, kind, (kind, "u32"))
        if kind.startswith("s"):
            yield f"neg.{kind}", _same(np.negative, kind, 1)
            yield f"abs.{kind}", _same(np.abs, kind, 1)
    for kind, wide in _WIDER.items():
        product = _wide_product(kind)
        yield f"mul.hi.{kind}", _same(_high_half(kind), kind, 2)
        yield f"mul.wide.{kind}", Elementwise(product, wide, (kind, kind))
        yield f"mad.wide.{kind}", Elementwise(lambda a, b, c, p=product: p(a, b) + c, wide, (kind, kind, wide))


def _bitwise() -> Iterator[tuple[str, Elementwise]]:
    for kind in (*_BITS, "pred"):
        yield f"and.{kind}", _same(np.bitwise_and, kind, 2)
        yield f"or.{kind}", _same(np.bitwise_or, kind, 2)
        yield f"xor.{kind}", _same(np.bitwise_xor, kind, 2)
        yield f"not.{kind}", _same(np.invert, kind, 1)
    for kind in _BITS:
        yield f"shl.{kind}", Elementwise(_shift_left, kind, (kind, "u32"))
        yield f"shr.{kind}", Elementwise(_shift_right, kind, (kind, "u32"))
    yield "lop3.b32", Elementwise(_lookup_three, "b32", ("b32", "b32", "b32", "u32"))
    yield "prmt.b32", _same(_permute_bytes, "b32", 3)
    yield "bfe.u32", _same(_extract_field, "u32", 3)
    yield "bfi.b32", Elementwise(_insert_field, "b32", ("b32", "b32", "u32", "u32"))
    yield "popc.b32", Elementwise(np.bitwise_count, "u32", ("b32",))
    yield "clz.b32", Elementwise(_count_leading_zeros, "u32", ("b32",))
    yield "shf.l.wrap.b32", _same(lambda low, high, n: _funnel(low, high) << (n & 31) >> 32, "b32", 3)
    yield "shf.r.wrap.b32", _same(lambda low, high, n: _funnel(low, high) >> (n & 31) & 0xFFFFFFFF, "b32", 3)


def _lookup_three(a: Array, b: Array, c: Array, table: Array) -> Array:
    """Any function of three bits: bit ``4 a + 2 b + c`` of the table."""
    result = np.zeros_like(a & b & c)
    for row in range(8):
        if int(table) >> row & 1:
            result |= (a if row & 4 else ~a) & (b if row & 2 else ~b) & (c if row & 1 else ~c)
    return result


def _permute_bytes(a: Array, b: Array, selector: Array) -> Array:
    """Four bytes chosen from the eight of b:a; the top bit of a choice spreads the byte's sign."""
    pool = _funnel(a, b)
    result = np.zeros(np.broadcast(a, b, selector).shape, np.uint64)
    for i in range(4):
        choice = selector.astype(np.uint64) >> np.uint64(4 * i)
        byte = pool >> (choice & np.uint64(7)) * np.uint64(8) & np.uint64(0xFF)
        byte = np.where(choice & np.uint64(8), np.where(byte & np.uint64(0x80), np.uint64(0xFF), np.uint64(0)), byte)
        result |= byte << np.uint64(8 * i)
    return result.astype(np.uint32)


def _funnel(low: Array, high: Array) -> Array:
    return np.asarray(high, np.uint64) << np.uint64(32) | np.asarray(low, np.uint64)


def _extract_field(value: Array, position: Array, length: Array) -> Array:
    wide = value.astype(np.uint64) >> np.minimum(position & 255, 63).astype(np.uint64)
    mask = (np.uint64(1) << np.minimum(length & 255, 32).astype(np.uint64)) - np.uint64(1)
    return (wide & mask).astype(np.uint32)


def _insert_field(field: Array, value: Array, position: Array, length: Array) -> Array:
    """The low bits of the field, at their position in the value."""
    begin = np.minimum(position & 255, 32).astype(np.uint64)
    mask = (np.uint64(1) << np.minimum(length & 255, 32).astype(np.uint64)) - np.uint64(1) << begin
    wide = (field.astype(np.uint64) << begin & mask) | (value.astype(np.uint64) & ~mask)
    return (wide & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def _count_leading_zeros(value: Array) -> Array:
    # Exact: the exponent of a 32-bit integer in float64.
    return np.where(value == 0, 32, 32 - np.frexp(value.astype(np.float64))[1]).astype(np.uint32)


def _float() -> Iterator[tuple[str, Elementwise]]:
    for name, function in {"add": np.add, "sub": np.subtract, "mul": np.multiply}.items():
        for rounding in ("", ".rn"):
            yield f"{name}{rounding}.f32", _same(function, "f32", 2)
            yield f"{name}{rounding}.f64", _same(function, "f64", 2)
    yield "fma.rn.f32", _same(floats.fused_multiply_add, "f32", 3)
    # Of a number and NaN, the number.
    yield "min.f32", _same(np.fmin, "f32", 2)
    yield "max.f32", _same(np.fmax, "f32", 2)
    yield "min.NaN.f32", _same(np.minimum, "f32", 2)
    yield "max.NaN.f32", _same(np.maximum, "f32", 2)
    yield "abs.f32", _same(np.abs, "f32", 1)
    yield "neg.f32", _same(np.negative, "f32", 1)
    yield "div.rn.f32", _same(np.divide, "f32", 2)
    yield "rcp.rn.f32", _same(np.reciprocal, "f32", 1)
    yield "sqrt.rn.f32", _same(np.sqrt, "f32", 1)
    yield "div.approx.f32", _same(floats.divide_approx, "f32", 2)
    for name, approximation in _APPROXIMATIONS.items():
        yield f"{name}.approx.f32", _same(approximation, "f32", 1)
        yield f"{name}.approx.ftz.f32", _same(_flushing(approximation), "f32", 1)
    yield "tanh.approx.f32", _same(floats.tanh, "f32", 1)


def _flushing(function: Function) -> Function:
    return lambda x: floats.flush(function(floats.flush(x)))


def _comparison() -> Iterator[tuple[str, Elementwise]]:
    for kind in (*_INTEGERS, "f32"):
        for name, function in (_LESS | _EQUAL).items():
            ordered = _ordered(function) if name == "ne" and kind == "f32" else function
            yield f"setp.{name}.{kind}", Elementwise(ordered, "pred", (kind, kind))
    for kind in _BITS:
        for name, function in _EQUAL.items():
            yield f"setp.{name}.{kind}", Elementwise(function, "pred", (kind, kind))
    for name, function in (_LESS | _EQUAL).items():
        yield f"setp.{name}u.f32", Elementwise(_unordered(function), "pred", ("f32", "f32"))
    yield "setp.nan.f32", Elementwise(lambda a, b: np.isnan(a) | np.isnan(b), "pred", ("f32", "f32"))
    yield "setp.num.f32", Elementwise(lambda a, b: ~(np.isnan(a) | np.isnan(b)), "pred", ("f32", "f32"))
    for kind in (*_INTEGERS, *_BITS, "f32"):
        yield f"selp.{kind}", Elementwise(_select, kind, (kind, kind, "pred"))


def _select(a: Array, b: Array, condition: Array) -> Array:
    return np.where(condition, a, b)


def _ordered(function: Function) -> Function:
    """False where one is NaN."""
    return lambda a, b: function(a, b) & ~(np.isnan(a) | np.isnan(b))


def _unordered(function: Function) -> Function:
    """True where one is NaN."""
    return lambda a, b: function(a, b) | np.isnan(a) | np.isnan(b)


ARITHMETIC = dict([*_integer(), *_bitwise(), *_float(), *_comparison()])
