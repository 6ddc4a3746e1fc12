"""Which backend multiplies on this CPU."""

from __future__ import annotations

import os

import torch

from bertfast import cpu_dense, cpu_extension
from bertfast.errors import InvarianceError, SettingError
from bertfast.linear.bfloat16 import BFloat16Linear
from bertfast.linear.blas import BlasLinear
from bertfast.linear.fixed_rows import FixedRowsBFloat16, FixedRowsBlas, FixedRowsOneDnn
from bertfast.linear.int8 import Int8Linear
from bertfast.linear.interface import Linear
from bertfast.linear.mixed import MixedLinear
from bertfast.linear.native import NativeBFloat16Linear, NativeInt8Linear
from bertfast.linear.onednn import OneDnnLinear
from bertfast.linear.portable import PortableLinear
from bertfast.precision import onednn_lacks

# Of `torch.cpu.get_capabilities`: what the native kernels take, beyond AVX-512.
_NATIVE_NEEDS = {"bfloat16": "avx512_bf16", "int8": "avx512_vnni"}
_CHOICES = ("auto", "blas", "onednn", "portable")
_REDUCED: dict[str, type[Linear]] = {"bfloat16": BFloat16Linear, "int8": Int8Linear}
_NATIVE: dict[str, type[Linear]] = {"bfloat16": NativeBFloat16Linear, "int8": NativeInt8Linear}


def missing(precision: str) -> str | None:
    """What this machine lacks for products in ``"bfloat16"`` or ``"int8"`` by whom `select_cpu_linear` chooses.

    None if nothing: they are fast, and right. Raises SettingError as `bertfast.cpu_extension.available` does.
    """
    return None if cpu_dense.serves(precision) else onednn_lacks(precision)


def advice(precision: str) -> str | None:
    """Where oneDNN multiplies in ``"bfloat16"`` or ``"int8"``: why bertfast's own kernels, which could, do not."""
    fit = torch.cpu.get_capabilities().get(_NATIVE_NEEDS[precision])
    if not fit or not cpu_extension.could_be_built():
        return None
    return (
        f"this CPU could run bertfast's own kernels in {precision}, and they are not there: {cpu_extension.why_not()}"
    )


def select_cpu_linear(dtype: torch.dtype, precision: str | None = None) -> type[Linear]:
    """The backend for weights of this dtype in a CPU's memory.

    precision: ``"bfloat16"`` or ``"int8"`` for products of copies in these, by bertfast's own kernels where they are
    there (`bertfast.cpu_extension`), else by oneDNN; None for the weights as they are. For
    those, ``BERTFAST_CPU_LINEAR`` = ``auto`` (default: oneDNN for few rows, the BLAS for others), ``blas``, ``onednn``
    or ``portable`` overrides the choice; a dtype that oneDNN does not take runs on ``blas``. Raises SettingError
    for any other value.
    """
    choice = os.environ.get("BERTFAST_CPU_LINEAR", "auto")
    if choice not in _CHOICES:
        raise SettingError(f"BERTFAST_CPU_LINEAR={choice!r}: expected one of {', '.join(_CHOICES)}")
    if precision is not None:
        return (_NATIVE if cpu_dense.serves(precision) else _REDUCED)[precision]
    if choice == "portable":
        return PortableLinear
    if choice == "blas" or not _onednn_takes(dtype):
        return BlasLinear
    # Chosen by dtype and rows, not by timing: the same machine must give the same bits on every run.
    return OneDnnLinear if choice == "onednn" else MixedLinear


def select_invariant_cpu_linear(dtype: torch.dtype, precision: str | None = None) -> type[Linear]:
    """As `select_cpu_linear`, of the backends whose rows do not depend on how many there are.

    bertfast's own kernels are like that. Raises InvarianceError for int8 without them.
    """
    if precision is not None and cpu_dense.serves(precision):
        return _NATIVE[precision]
    if precision == "int8":
        raise InvarianceError(
            f"invariant=True: precision='int8' is invariant by bertfast's own kernels only, and they are not there "
            f"({cpu_extension.why_not() or 'this CPU has no VNNI'}); choose precision=None or 'bfloat16'"
        )
    if precision == "bfloat16":
        return FixedRowsBFloat16
    return FixedRowsOneDnn if _onednn_takes(dtype) else FixedRowsBlas


def _onednn_takes(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
