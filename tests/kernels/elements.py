"""The element types of the kernels, as numpy arrays can hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.launches import aligned_array
from kernels.ptx.floats import bfloat16_to_float, float_to_bfloat16
from kernels.ptx.kinds import Array


@dataclass(frozen=True)
class Element:
    """``number``: its place in csrc/kernels/dtype.h. ``storage``: what numpy keeps; for bfloat16, its bits."""

    name: str
    number: int
    storage: np.dtype[Any]
    unit_roundoff: float

    def __str__(self) -> str:
        return self.name

    def empty(self, shape: tuple[int, ...], skipped: int = 0) -> Array:
        """NaNs; the data begin ``skipped`` elements after a 16-byte boundary."""
        return aligned_array(shape, self.storage, skipped)

    def array(self, values: Array, skipped: int = 0) -> Array:
        """The values rounded to this type, where ``empty`` would have them."""
        array = self.empty(values.shape, skipped)
        rounded = values.astype(np.float32)
        array[...] = float_to_bfloat16(rounded) if self.name == "bfloat16" else rounded
        return array

    def to_float64(self, array: Array) -> Array:
        """Exact."""
        return (bfloat16_to_float(array) if self.name == "bfloat16" else array).astype(np.float64)

    def ordinals(self, array: Array) -> Array:
        """Integers in the order of the values: neighbours differ by 1, and both zeros are 0."""
        bits = array.view(f"i{array.itemsize}").astype(np.int64)
        smallest = -(1 << (8 * array.itemsize - 1))
        return np.where(bits < 0, smallest - bits, bits)


ELEMENTS = (
    Element("float32", 0, np.dtype(np.float32), 2.0**-24),
    Element("float16", 1, np.dtype(np.float16), 2.0**-11),
    Element("bfloat16", 2, np.dtype(np.uint16), 2.0**-8),
)
