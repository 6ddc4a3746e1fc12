"""The project's own launchers, called from here: run by the emulation, and what they asked of the GPU kept.

The launchers are those of csrc/kernels/*.cu, in a library that CMake builds without CUDA and without torch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kernels.host_build import build_emulated
from kernels.ptx import Launch
from kernels.ptx.kinds import Array


@dataclass(frozen=True)
class KernelLaunch:
    """``kernel``: the mangled name of its instance, with the emulation's own 16-bit types in it."""

    kernel: str
    launch: Launch


class _Record(ctypes.Structure):
    _fields_ = (
        ("kernel", ctypes.c_char_p),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("smem_bytes", ctypes.c_uint64),
        ("params", ctypes.POINTER(ctypes.c_char)),
        ("params_bytes", ctypes.c_uint64),
    )


class Launchers:
    """All launchers of the library at ``path``, by the names of their ops."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        handle = ctypes.c_void_p
        for name, result, arguments in (
            ("recorder_new", handle, ()),
            ("recorder_delete", None, (handle,)),
            ("recorder_stream", handle, (handle,)),
            ("recorder_stop_running", None, (handle,)),
            ("recorder_add_buffer", None, (handle, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p)),
            ("recorder_error", ctypes.c_char_p, (handle,)),
            ("recorder_count", ctypes.c_uint64, (handle,)),
            ("recorder_launch", _Record, (handle, ctypes.c_uint64)),
        ):
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments

    def launch(self, op: str, params: ctypes.Structure, arrays: Mapping[str, Array]) -> list[KernelLaunch]:
        """Call ``launch_<op>`` emulated; the kernels may touch the given arrays and nothing else.

        Raises RuntimeError with what the emulation has to say if the launcher returns an error.
        """
        return self._call(op, params, arrays, runs=True)

    def shapes(self, op: str, params: ctypes.Structure) -> list[KernelLaunch]:
        """What ``launch_<op>`` would launch. Nothing runs, so the addresses only have to be aligned."""
        return self._call(op, params, {}, runs=False)

    def _call(
        self, op: str, params: ctypes.Structure, arrays: Mapping[str, Array], *, runs: bool
    ) -> list[KernelLaunch]:
        library = self._library
        recorder = library.recorder_new()
        try:
            if not runs:
                library.recorder_stop_running(recorder)
            for name, array in arrays.items():
                library.recorder_add_buffer(recorder, array.ctypes.data, array.nbytes, name.encode())
            status = self._launcher(op, type(params).__name__)(ctypes.byref(params), library.recorder_stream(recorder))
            if status != 0:
                raise RuntimeError(f"launch_{op}: error {status} {library.recorder_error(recorder).decode()}")
            return [self._record(recorder, i) for i in range(library.recorder_count(recorder))]
        finally:
            library.recorder_delete(recorder)

    def _launcher(self, op: str, params: str) -> ctypes._NamedFuncPointer:
        """``cudaError_t bertfast::launch_<op>(const <Params>&, cudaStream_t)``, by its name in the library."""
        name = f"launch_{op}"
        mangled = f"_ZN8bertfast{len(name)}{name}ERKNS_{len(params)}{params}EP11CUstream_st"
        function = self._library[mangled]
        function.restype, function.argtypes = ctypes.c_int, (ctypes.c_void_p, ctypes.c_void_p)
        return function

    def _record(self, recorder: int, index: int) -> KernelLaunch:
        record = self._library.recorder_launch(recorder, index)
        params = ctypes.string_at(record.params, record.params_bytes)
        grid, block = tuple(record.grid), tuple(record.block)
        return KernelLaunch(record.kernel.decode(), Launch(grid, block, record.smem_bytes, params))


def build_launchers() -> Launchers:
    """Build the library, unless it is there and up to date."""
    build = build_emulated("bertfast_launch_recorder")
    return Launchers(build / "csrc" / "tests" / "libbertfast_launch_recorder.so")


def aligned_array(shape: tuple[int, ...], dtype: np.dtype, skipped: int = 0) -> Array:
    """An array full of NaN bits whose data begin ``skipped`` elements after a 16-byte boundary."""
    size, item = int(np.prod(shape)), np.dtype(dtype).itemsize
    raw = np.full(size * item + skipped * item + 16, 0xFF, np.uint8)
    begin = -raw.ctypes.data % 16 + skipped * item
    return raw[begin : begin + size * item].view(dtype).reshape(shape)
