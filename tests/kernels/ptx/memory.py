"""The memories of a GPU, with checks of every access."""

from __future__ import annotations

from bisect import insort

import numpy as np

from kernels.ptx.errors import Fault
from kernels.ptx.kinds import Array

# Where shared memory lies among generic addresses: far from any real one.
SHARED_BASE = 1 << 56
POISON = 0xFF  # NaN in every floating point type
_NOBODY, _SEVERAL = -1, -2  # instead of the number of a warp


def check_alignment(addresses: Array, size: int) -> None:
    """An access has to be aligned to its size."""
    if (addresses % addresses.dtype.type(size)).any():
        bad = int(addresses[(addresses % addresses.dtype.type(size)) != 0][0])
        raise Fault(f"misaligned access to {size} bytes at {bad:#x}")


class GlobalMemory:
    """The arrays that a kernel may touch, at the addresses that they have in this process."""

    def __init__(self) -> None:
        self._arrays: list[tuple[int, str, Array]] = []

    def add(self, name: str, array: Array) -> None:
        """Let kernels read the array, and write it if numpy may."""
        view = array.reshape(-1).view(np.uint8)
        is_there = any(begin == array.ctypes.data for begin, _, _ in self._arrays)
        if view.size and not is_there:
            insort(self._arrays, (array.ctypes.data, name, view), key=lambda entry: entry[0])

    def read(self, addresses: Array, size: int, warps: Array) -> Array:
        """``size`` bytes from each address: [n, size]."""
        result = np.empty((addresses.size, size), np.uint8)
        for lanes, _, data, offsets in self._find(addresses, size):
            result[lanes] = data[offsets[:, None] + np.arange(size)]
        return result

    def write(self, addresses: Array, values: Array, warps: Array) -> None:
        """Write rows of bytes, [n, size]."""
        for lanes, name, data, offsets in self._find(addresses, values.shape[1]):
            if not data.flags.writeable:
                raise Fault(f"write to {name}, which is for reading only")
            data[offsets[:, None] + np.arange(values.shape[1])] = values[lanes]

    def _find(self, addresses: Array, size: int) -> list[tuple[Array, str, Array, Array]]:
        """The arrays that the addresses lie in: (which addresses, name, bytes, offsets)."""
        check_alignment(addresses, size)
        begins = np.array([begin for begin, _, _ in self._arrays], np.uint64)
        found = np.searchsorted(begins, addresses, side="right") - 1
        pieces = []
        for index in np.unique(found):
            lanes = np.nonzero(found == index)[0]
            if index < 0:
                raise Fault(f"global access to {int(addresses[lanes[0]]):#x}, below every array")
            begin, name, data = self._arrays[index]
            offsets = (addresses[lanes] - np.uint64(begin)).astype(np.int64)
            if offsets.max() + size > data.size:
                where = f"{size} bytes at {offsets.max()} of {name} ({data.size} bytes)"
                raise Fault(f"global access out of bounds: {where}")
            pieces.append((lanes, name, data, offsets))
        return pieces


class SharedMemory:
    """Of one block. Nothing in it is known at the start: it is NaN.

    Warps run in an order of their own. What one writes, another may touch only after a barrier of the block; this
    notices where it does so before. Lanes of one warp are not told apart.
    """

    def __init__(self, size: int) -> None:
        self._data = np.full(size, POISON, np.uint8)
        self._writer = np.empty(size, np.int32)
        self._reader = np.empty(size, np.int32)
        self.forget_accesses()

    def forget_accesses(self) -> None:
        """All threads of the block have met."""
        self._writer[:] = _NOBODY
        self._reader[:] = _NOBODY

    def read(self, addresses: Array, size: int, warps: Array) -> Array:
        """``size`` bytes from each address, by threads of the given warps: [n, size]."""
        offsets = self._check(addresses, size)
        where, who = offsets[:, None] + np.arange(size), warps[:, None]
        self._check_races(self._writer[where], who, offsets, "written")
        before = self._reader[where]
        self._reader[where] = who
        several = (self._reader[where] != who) | ((before != _NOBODY) & (before != who))
        self._reader[where[several]] = _SEVERAL
        return np.asarray(self._data[where])

    def write(self, addresses: Array, values: Array, warps: Array) -> None:
        """Write rows of bytes, [n, size], by threads of the given warps."""
        offsets = self._check(addresses, values.shape[1])
        where, who = offsets[:, None] + np.arange(values.shape[1]), warps[:, None]
        self._check_races(self._writer[where], who, offsets, "written")
        self._check_races(self._reader[where], who, offsets, "read")
        self._writer[where] = who
        self._check_races(self._writer[where], who, offsets, "written")
        self._data[where] = values

    def poison(self, addresses: Array, size: int, warps: Array) -> None:
        """Forget what was there."""
        self.write(addresses, np.full((addresses.size, size), POISON, np.uint8), warps)

    def _check(self, addresses: Array, size: int) -> Array:
        check_alignment(addresses, size)
        offsets = addresses.astype(np.int64)
        if offsets.min() < 0 or offsets.max() + size > self._data.size:
            bad = offsets.min() if offsets.min() < 0 else offsets.max()
            raise Fault(f"shared access out of bounds: {size} bytes at {bad} of {self._data.size}")
        return offsets

    def _check_races(self, before: Array, who: Array, offsets: Array, done: str) -> None:
        races = ((before != _NOBODY) & (before != who)).any(axis=1)
        if races.any():
            first = int(np.argmax(races))
            raise Fault(f"race: byte {offsets[first]} of shared memory was {done} by another warp since the barrier")
