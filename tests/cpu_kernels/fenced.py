"""Dense layers between pages that may not be touched: a read or write outside ends this process by a signal."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import sys

import torch
from torch import Tensor

from bertfast import cpu_dense, cpu_extension

_PAGE = mmap.PAGESIZE
_FLOATS = (torch.float32, torch.bfloat16)
_MAPPED = []
_mprotect = ctypes.CDLL(None).mprotect
_mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Fence:
    """Memory between two pages that may not be touched."""

    def __init__(self, pages: int) -> None:
        self._memory = mmap.mmap(-1, (pages + 2) * _PAGE)
        self._end = (pages + 1) * _PAGE
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        for page in (0, self._end):
            assert _mprotect(address + page, _PAGE, 0) == 0

    def tensor(self, shape: tuple[int, ...], dtype: torch.dtype, in_front: bool) -> Tensor:
        """It starts where the memory does, or ends there; until the next one is made."""
        count = torch.Size(shape).numel()
        offset = _PAGE if in_front else self._end - count * dtype.itemsize
        return torch.frombuffer(self._memory, dtype=dtype, count=count, offset=offset).view(shape)


def fenced(shape: tuple[int, ...], dtype: torch.dtype, in_front: bool) -> Tensor:
    """Memory that starts, or ends, where a page does that may not be touched."""
    fence = Fence(-(-torch.Size(shape).numel() * dtype.itemsize // _PAGE))
    _MAPPED.append(fence)
    return fence.tensor(shape, dtype, in_front)


def check(precision: str, sizes: tuple[int, int, int], x_dtype: torch.dtype, dtype: torch.dtype, front: bool) -> None:
    (rows, k, columns), float32, module = sizes, torch.float32, cpu_extension.module()
    weight, bias, scales, sums = (fenced((columns, *more), float32, front) for more in ((k,), (), (), ()))
    x, out = fenced((rows, k), x_dtype, front).normal_(), fenced((rows, columns), dtype, front)
    panels = torch.empty(module.packed_weight_bytes(precision, columns, k), dtype=torch.uint8)
    addresses = [tensor.data_ptr() for tensor in (panels, bias.normal_(), scales, sums)]
    dense = module.DenseWeight(precision, *addresses, columns, k)
    dense.pack(weight.normal_().data_ptr())
    dense.multiply(x.data_ptr(), x_dtype is torch.bfloat16, out.data_ptr(), dtype is torch.bfloat16, rows)
    assert torch.equal(out, cpu_dense.PackedDense(weight, bias, precision)(x, dtype))


if __name__ == "__main__":
    isa, precision = sys.argv[1:]
    cpu_extension.module().limit_isa(isa)
    shapes = [(1, 1, 1), (17, 33, 40), (33, 65, 33), (65, 100, 70), (16, 64, 32)]
    for case in itertools.product(shapes, _FLOATS, _FLOATS, (False, True)):
        check(precision, *case)
