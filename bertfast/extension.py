"""``bertfast._C``, the compiled CUDA kernels: loaded once, when the ops are first imported; or why it is not there.

Without it everything works on PyTorch, and a CUDA tensor that reaches an op of bertfast raises `ExtensionError`.
"""

from __future__ import annotations

import re
from functools import cache
from types import ModuleType
from typing import Any

import torch

from bertfast.binary import Binary, Loaded, load
from bertfast.errors import ExtensionError
from bertfast.versions import SERVED

# Of the kernels: csrc/kernels/limits.h.
OLDEST_CAPABILITY = (7, 5)
# Whose stable ABI csrc/bindings is written against.
_OLDEST_TORCH = SERVED["torch"].oldest
_BUILD = "BERTFAST_CUDA=1 pip install --no-build-isolation --no-deps --force-reinstall ."
_BINARY = Binary("bertfast._C", "CUDA kernels", _BUILD)


def available() -> bool:
    """Whether ``bertfast._C`` is loaded, and with it the ops' CUDA kernels. Loads it on the first call."""
    return _load().module is not None


def why_not() -> str | None:
    """Why ``bertfast._C`` is not available, and what to do; None if it is."""
    return _load().reason


def why_not_on(capability: tuple[int, int]) -> str | None:
    """Why the kernels do not run on a device of this compute capability, and what to do; None if they do.

    capability: as `torch.cuda.get_device_capability` gives it.
    """
    if not available():
        return why_not()
    info = build_info()
    if any(_runs(code, capability) for code in (*info["sass"], *info["ptx"])):
        return None
    major, minor = capability
    # csrc/bindings/cuda_errors.cpp has the same words where a launch fails.
    if capability < OLDEST_CAPABILITY:
        return f"the kernels need compute capability {_dotted(OLDEST_CAPABILITY)} or later, this is {major}.{minor}"
    return (
        f"bertfast._C holds no code for sm_{major}{minor}; it was built for {' '.join(info['sass'] + info['ptx'])}. "
        f"Build it again in bertfast's source directory: TORCH_CUDA_ARCH_LIST={major}.{minor} {_BUILD}"
    )


def build_info() -> dict[str, Any]:
    """What the kernels were built with, by name.

    ``bertfast``, ``nvcc``, ``host_compiler``, ``torch_headers`` (versions), ``torch_stable_abi`` (the oldest torch that
    loads it), ``sass`` (architectures with machine code: ``["sm_90"]``), ``ptx`` (``["compute_120"]``). Raises
    ExtensionError if `available` is False.
    """
    return dict(_module().build_info())


def kernels() -> list[dict[str, Any]]:
    """One row for each kernel and architecture in the binary, as the compiler reports it; no GPU is asked.

    ``kernel``, ``architecture``, ``registers`` (a thread), ``static_smem_bytes`` (a block), ``stack_bytes``,
    ``spill_bytes`` (a thread). Raises ExtensionError if `available` is False.
    """
    return list(_module().kernels())


def kernel_attributes(kernel: str) -> dict[str, Any]:
    """What the current CUDA device says of a kernel, named as `kernels` names it.

    ``registers``, ``static_smem_bytes``, ``local_bytes``, ``max_threads`` (of a block), ``compiled_for``,
    ``ptx_version``. Raises RuntimeError without a device, ValueError for a name that is not there, ExtensionError if
    `available` is False.
    """
    return dict(_module().kernel_attributes(kernel))


def blocks_per_multiprocessor(kernel: str, threads: int, smem_bytes: int = 0) -> int:
    """How many blocks of ``threads``, with ``smem_bytes`` of dynamic shared memory each, a multiprocessor of the
    current CUDA device holds at a time. Raises as `kernel_attributes` does."""
    return int(_module().blocks_per_multiprocessor(kernel, threads, smem_bytes))


def _module() -> ModuleType:
    loaded = _load()
    if loaded.module is None:
        raise ExtensionError(loaded.reason)
    return loaded.module


@cache
def _load() -> Loaded:
    return load(_BINARY, _unfit)


def _unfit() -> str | None:
    if _release(torch.__version__) < _OLDEST_TORCH:
        return f"they need torch {_dotted(_OLDEST_TORCH)} or later, this is {torch.__version__}"
    return None


def _dotted(release: tuple[int, ...]) -> str:
    return ".".join(map(str, release))


def _release(version: str) -> tuple[int, int]:
    major, minor = re.findall(r"\d+", version)[:2]
    return int(major), int(minor)


def _runs(code: str, capability: tuple[int, int]) -> bool:
    """Whether a device can run ``sm_90`` (that major version, from that minor on) or ``compute_90`` (any later)."""
    kind, number, suffix = re.fullmatch(r"(sm|compute)_(\d+)([af]?)", code).groups()  # type: ignore[union-attr]
    built = divmod(int(number), 10)
    if suffix == "a":
        return capability == built
    if kind == "compute" and suffix == "":
        return capability >= built
    return capability[0] == built[0] and capability >= built
