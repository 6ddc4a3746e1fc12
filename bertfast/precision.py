"""In what numbers the dense layers are multiplied, where a user asks for others than the model holds."""

from __future__ import annotations

from functools import cache

import torch

from bertfast.errors import PrecisionError

#: What may be asked for; None leaves it to the dtype of the model.
PRECISIONS = (None, "float32", "bfloat16", "int8", "auto")


def check_name(asked: object) -> None:
    """Raise ValueError unless it is one of `PRECISIONS`."""
    if asked not in PRECISIONS:
        names = ", ".join(repr(name) for name in PRECISIONS)
        raise ValueError(f"precision={asked!r}: expected one of {names}")


def resolve(asked: str | None, dtype: torch.dtype, device: torch.device) -> str | None:
    """The reduced precision to multiply in, ``"bfloat16"`` or ``"int8"``; None for the dtype of the weights.

    None too where this CPU has no instructions for what was asked, and for ``"auto"`` where nothing reduced would be
    faster. Raises PrecisionError for weights that it cannot be made from.
    """
    if asked is None or (asked == "auto" and not _can_reduce(dtype, device)):
        return None
    if asked == str(dtype).removeprefix("torch."):
        return None
    if not _can_reduce(dtype, device):
        raise PrecisionError(
            f"precision={asked!r}: weights of {dtype} on {device}; it is made from float32 weights on a CPU. "
            f"{_advice(asked, device)}"
        )
    if asked == "auto":
        return "bfloat16" if missing("bfloat16") is None else None
    return asked if missing(asked) is None else None


@cache
def missing(precision: str) -> str | None:
    """Which instructions this CPU lacks to be fast in ``"bfloat16"`` or ``"int8"``; None if it has them."""
    if not torch.backends.mkldnn.is_available():
        return "this torch was built without oneDNN"
    has = torch.cpu.get_capabilities()
    if precision == "bfloat16":
        fast = has.get("amx_bf16") or has.get("avx512_bf16")
        return None if fast else "this CPU has neither AMX-BF16 nor AVX512-BF16"
    fast = has.get("amx_int8") or has.get("avx512_vnni") or has.get("avx_vnni")
    return None if fast else "this CPU has neither AMX-INT8 nor VNNI"


def _can_reduce(dtype: torch.dtype, device: torch.device) -> bool:
    return dtype == torch.float32 and device.type == "cpu"


def _advice(asked: str, device: torch.device) -> str:
    if device.type != "cpu":
        return "There, choose the dtype of the model: model.to(torch.bfloat16)" if asked != "int8" else "Use bfloat16"
    return "Convert the model first: model.float()"
