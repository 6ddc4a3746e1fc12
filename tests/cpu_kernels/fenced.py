"""Memory between pages that may not be touched: a read or write outside ends the process by a signal."""

from __future__ import annotations

import ctypes
import mmap

import torch
from torch import Tensor

_PAGE = mmap.PAGESIZE
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
