"""PTX's fundamental types as numpy's, and bits as any of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# bf16 and the packed pairs have no numpy type: they are carried as their bits.
_DTYPES = {
    "pred": np.bool_,
    "b8": np.uint8,
    "u8": np.uint8,
    "s8": np.int8,
    "b16": np.uint16,
    "u16": np.uint16,
    "s16": np.int16,
    "f16": np.float16,
    "bf16": np.uint16,
    "b32": np.uint32,
    "u32": np.uint32,
    "s32": np.int32,
    "f32": np.float32,
    "f16x2": np.uint32,
    "bf16x2": np.uint32,
    "b64": np.uint64,
    "u64": np.uint64,
    "s64": np.int64,
    "f64": np.float64,
}
DTYPES: dict[str, np.dtype[Any]] = {kind: np.dtype(dtype) for kind, dtype in _DTYPES.items()}

_UNSIGNED: dict[int, np.dtype[Any]] = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}


def num_bytes(kind: str) -> int:
    """How much memory a value takes."""
    return DTYPES[kind].itemsize


def storage(kind: str) -> np.dtype[Any]:
    """The type that a register of this kind is kept in: unsigned, or bool for a predicate."""
    return DTYPES[kind] if kind == "pred" else _UNSIGNED[num_bytes(kind)]


def from_bits(bits: Array, kind: str) -> Array:
    """The content of registers as values of a kind. A register may be wider: its low bits count."""
    dtype = DTYPES[kind]
    if bits.dtype == dtype:
        return bits
    if bits.dtype.itemsize > dtype.itemsize:
        bits = bits.astype(_UNSIGNED[dtype.itemsize])
    if bits.dtype.itemsize != dtype.itemsize:
        raise ValueError(f"a register of {bits.dtype.itemsize} bytes read as {kind}")
    return bits.view(dtype)


def to_bits(values: Array, register: np.dtype[Any]) -> Array:
    """Values as the content of registers. A wider register gets them extended, by sign if they have one."""
    if values.dtype == register:
        return values
    if values.dtype.kind == "f":
        values = values.view(_UNSIGNED[values.dtype.itemsize])
    if values.dtype.itemsize > register.itemsize or (values.dtype.kind == "b") != (register.kind == "b"):
        raise ValueError(f"{values.dtype} written to a register of {register}")
    return values.astype(register)
