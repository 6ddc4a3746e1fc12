"""mov, cvt and cvta: values moved between registers, and between types."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from kernels.ptx import floats
from kernels.ptx.arithmetic import Elementwise
from kernels.ptx.block import Block, Handler, Lanes
from kernels.ptx.code import Instruction, Vector
from kernels.ptx.kinds import DTYPES, Array, num_bytes
from kernels.ptx.memory import SHARED_BASE

_INTEGERS = ("u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64")
_BITS_BY_SIZE = {1: "b8", 2: "b16", 4: "b32", 8: "b64"}


def _move(kind: str) -> Handler:
    def move(block: Block, instruction: Instruction, lanes: Lanes) -> None:
        target, source = instruction.operands
        if isinstance(target, Vector):
            _unpack(block, target, block.read(source, kind, lanes), lanes)
        elif isinstance(source, Vector):
            block.write(target, _pack(block, source, kind, lanes), lanes)
        else:
            block.write(target, block.read(source, kind, lanes), lanes)

    return move


def _pack(block: Block, source: Vector, kind: str, lanes: Lanes) -> Array:
    """Registers side by side, the first in the lowest bits."""
    size = num_bytes(kind) // len(source.elements)
    packed = np.zeros((), np.uint64)
    for i, element in enumerate(source.elements):
        bits = block.read(element, _BITS_BY_SIZE[size], lanes).astype(np.uint64)
        packed = packed | bits << np.uint64(8 * size * i)
    return packed.astype(DTYPES[kind])


def _unpack(block: Block, target: Vector, values: Array, lanes: Lanes) -> None:
    size = values.dtype.itemsize // len(target.elements)
    for i, element in enumerate(target.elements):
        part = values >> values.dtype.type(8 * size * i)
        block.write(element, part.astype(DTYPES[_BITS_BY_SIZE[size]]), lanes)


def _moves() -> Iterator[tuple[str, Handler]]:
    for kind in ("pred", "b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64"):
        yield f"mov.{kind}", _move(kind)


def _between_integers() -> Iterator[tuple[str, Handler]]:
    for source in _INTEGERS:
        for target in _INTEGERS:
            yield f"cvt.{target}.{source}", Elementwise(lambda x, t=target: x.astype(DTYPES[t]), target, (source,))
        yield f"cvt.rn.f32.{source}", Elementwise(lambda x: x.astype(np.float32), "f32", (source,))


def _saturated(kind: str, rounding: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Float to integer: out of range becomes the nearest there is, NaN becomes 0."""
    limits = np.iinfo(DTYPES[kind])

    def convert(x: Array) -> Array:
        rounded = rounding(np.nan_to_num(x.astype(np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf))
        inside = np.clip(rounded, float(limits.min), float(limits.max))
        return inside.astype(DTYPES[kind])

    return convert


def _from_floats() -> Iterator[tuple[str, Handler]]:
    for kind in ("u32", "s32"):
        for name, rounding in {"rzi": np.trunc, "rni": np.rint, "rmi": np.floor, "rpi": np.ceil}.items():
            yield f"cvt.{name}.{kind}.f32", Elementwise(_saturated(kind, rounding), kind, ("f32",))
    yield "cvt.rn.f16.f32", Elementwise(lambda x: x.astype(np.float16), "f16", ("f32",))
    yield "cvt.f32.f16", Elementwise(lambda x: x.astype(np.float32), "f32", ("f16",))
    yield "cvt.rn.bf16.f32", Elementwise(floats.float_to_bfloat16, "bf16", ("f32",))
    yield "cvt.f32.bf16", Elementwise(floats.bfloat16_to_float, "f32", ("bf16",))
    # The first source becomes the upper half.
    yield "cvt.rn.f16x2.f32", Elementwise(_packed(_float_to_half_bits), "f16x2", ("f32", "f32"))
    yield "cvt.rn.bf16x2.f32", Elementwise(_packed(floats.float_to_bfloat16), "bf16x2", ("f32", "f32"))


def _float_to_half_bits(x: Array) -> Array:
    return np.asarray(x.astype(np.float16)).view(np.uint16)


def _packed(convert: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda high, low: convert(high).astype(np.uint32) << np.uint32(16) | convert(low)


def _between_addresses() -> Iterator[tuple[str, Handler]]:
    """Generic addresses are those of global memory; shared memory lies elsewhere among them."""
    base = np.uint64(SHARED_BASE)
    for kind in ("u64", "s64"):
        for name in ("cvta.to.global", "cvta.global", "cvta.to.param", "cvta.param"):
            yield f"{name}.{kind}", Elementwise(lambda x: x, kind, (kind,))
    yield "cvta.shared.u64", Elementwise(lambda x: x + base, "u64", ("u64",))
    yield "cvta.to.shared.u64", Elementwise(lambda x: x - base, "u64", ("u64",))


CONVERSIONS = dict([*_moves(), *_between_integers(), *_from_floats(), *_between_addresses()])
