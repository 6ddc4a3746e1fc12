"""``bertfast._cpu``, the compiled CPU kernels: loaded when they are first asked for; or why they are not there.

They need an x86-64 CPU with AVX-512. Without them everything works on PyTorch.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from bertfast import cpu_sources
from bertfast.binary import Binary, Loaded, load
from bertfast.errors import ExtensionError, SettingError

_BINARY = Binary("bertfast._cpu", "CPU kernels", "BERTFAST_CPU=1 pip install --no-deps --force-reinstall .")
# As native_build/cpu/flags.py lets every file use them, by torch's names.
_NEEDED = ("avx512_f", "avx512_bw", "avx512_vl", "avx512_dq", "fma3")
_POOL = ("torch_parallel_for", "torch_get_num_threads", "torch_get_thread_idx")
_ISAS = ("amx", "avx512")
# Beside the package where it runs from its source directory.
_CSRC = Path(__file__).resolve().parents[1] / "csrc"


def available() -> bool:
    """Whether ``bertfast._cpu`` is loaded. Loads it on the first call.

    Raises SettingError for a variable of the environment that means nothing: ``BERTFAST_CPU_KERNELS`` (``1``, or ``0``
    for PyTorch instead) and ``BERTFAST_CPU_ISA`` (the newest instructions to use: ``amx`` or ``avx512``).
    """
    return _load().module is not None


def why_not() -> str | None:
    """Why ``bertfast._cpu`` is not available, and what to do; None if it is."""
    return _load().reason


def build_info() -> dict[str, Any]:
    """What the kernels were built with: the versions of ``bertfast``, ``compiler`` and ``pybind11``; ``sources``, see
    `bertfast.cpu_sources`.

    Raises ExtensionError if `available` is False.
    """
    return dict(module().build_info())


def features() -> dict[str, bool]:
    """Which instructions the kernels use here: ``avx512``, ``vnni``, ``bf16``, ``amx_int8``, ``amx_bf16``.

    Raises ExtensionError if `available` is False.
    """
    return dict(module().features())


def module() -> ModuleType:
    """``bertfast._cpu``. Raises ExtensionError if `available` is False."""
    loaded = _load()
    if loaded.module is None:
        raise ExtensionError(loaded.reason)
    return loaded.module


def could_be_built() -> bool:
    """Whether the kernels are not available, though this CPU runs them and nobody has turned them off."""
    return not available() and _unwanted() is None


def _unwanted() -> str | None:
    """Why they must not be loaded even if they are there."""
    if _variable("BERTFAST_CPU_KERNELS", "1", "0") == "0":
        return "BERTFAST_CPU_KERNELS=0"
    missing = [name for name in _NEEDED if not torch.cpu.get_capabilities().get(name)]
    return f"they need AVX-512, and this CPU lacks {', '.join(missing)}" if missing else None


@cache
def _load() -> Loaded:
    reason = _unwanted()
    if reason is not None:
        return Loaded(reason=reason)
    newest = _variable("BERTFAST_CPU_ISA", *_ISAS)

    def prepare(module: ModuleType) -> None:
        _check_sources(module)
        module.use_thread_pool(*_addresses_of_thread_pool())
        module.limit_isa(newest)
        if not module.features()["avx512"]:
            raise RuntimeError("they need AVX-512, which this system keeps from programs")

    return load(_BINARY, prepare=prepare)


def _check_sources(module: ModuleType) -> None:
    """Raise RuntimeError for a binary of other sources than those beside the package: functions may be missing."""
    wanted = cpu_sources.fingerprint(_CSRC)
    if wanted is not None and module.build_info().get("sources") != wanted:
        raise RuntimeError(
            f"it was not built from the sources in {_CSRC}; {_BINARY.cure}, or python setup.py build_ext --inplace"
        )


def _variable(name: str, *allowed: str) -> str:
    """The first of those allowed is the default."""
    value = os.environ.get(name, "") or allowed[0]
    if value not in allowed:
        raise SettingError(f"{name}={value!r}: expected {' or '.join(allowed)}")
    return value


def _addresses_of_thread_pool() -> list[int]:
    """Of the functions of torch's stable C interface that run loops on its threads."""
    # A symbol is looked for in a library and in those that it needs: libtorch_cpu is one of these, wherever it lies.
    library = ctypes.CDLL(torch._C.__file__)
    missing = [name for name in _POOL if not hasattr(library, name)]
    if missing:
        raise RuntimeError(f"torch {torch.__version__} has no {', '.join(missing)}: install torch 2.11 or later")
    return [ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in _POOL]
