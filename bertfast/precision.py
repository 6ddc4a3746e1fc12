"""In what numbers the dense layers are multiplied, where a user asks for others than the model holds."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Choice:
    """What a device makes of a precision that was asked for.

    reduced: ``"bfloat16"`` or ``"int8"``, or None to multiply in the dtype of the weights. lacks: why it is None though
    one of them was asked for.
    """

    reduced: str | None = None
    lacks: str | None = None


def is_own(asked: str | None, dtype: torch.dtype) -> bool:
    """Whether what is asked for is the dtype of the weights."""
    return asked is None or asked == str(dtype).removeprefix("torch.")


def check_float32(asked: str, dtype: torch.dtype) -> None:
    """Raise PrecisionError unless the weights are float32, of which every precision is made."""
    if dtype != torch.float32:
        raise PrecisionError(
            f"precision={asked!r}: the weights are {dtype}, expected torch.float32; convert the model first: "
            "model.float()"
        )


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
