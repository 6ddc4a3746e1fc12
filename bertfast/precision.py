"""In what numbers the dense layers are multiplied, where a user asks for others than the model holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from bertfast.errors import PrecisionError

#: What may be asked for; None leaves it to the dtype of the model.
PRECISIONS = (None, "float32", "bfloat16", "int8", "auto")

_OTHER_NAMES = {
    "bf16": "bfloat16",
    "fp32": "float32",
    "float": "float32",
    "qint8": "int8",
    "fp16": "float16",
    "half": "float16",
    "fp64": "float64",
    "double": "float64",
}


def check_name(asked: object) -> None:
    """Raise ValueError unless it is one of `PRECISIONS`."""
    if not (asked is None or isinstance(asked, str)) or asked not in PRECISIONS:
        names = ", ".join(repr(name) for name in PRECISIONS)
        raise ValueError(f"precision={asked!r}: expected one of {names}{_hint(asked)}")


def _hint(asked: object) -> str:
    """What may have been meant, by a usual short name or a dtype."""
    name = usual_name(asked)
    if name in ("float16", "float64"):
        return f"; for a model in {name}, convert it and leave precision out: model.to(torch.{name})"
    return f"; did you mean {name!r}?" if name in PRECISIONS else ""


def usual_name(asked: object) -> str:
    """``"bfloat16"`` for ``"bf16"``, ``"BFloat16"`` or ``torch.bfloat16``; what has no other name stays as it is."""
    name = str(asked).removeprefix("torch.").lower()
    return _OTHER_NAMES.get(name, name)


@dataclass(frozen=True)
class Choice:
    """What a device makes of a precision that was asked for.

    reduced: ``"bfloat16"`` or ``"int8"``, or None to multiply in the dtype of the weights. lacks: why it is None though
    one of them was asked for. advice: what would multiply faster here, and is not there.
    """

    reduced: str | None = None
    lacks: str | None = None
    advice: str | None = None


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
def onednn_lacks(precision: str) -> str | None:
    """What oneDNN lacks here to be fast, and right, in ``"bfloat16"`` or ``"int8"``; None if nothing."""
    if not torch.backends.mkldnn.is_available():
        return "this torch was built without oneDNN"
    has = torch.cpu.get_capabilities()
    if precision == "bfloat16":
        if not (has.get("amx_bf16") or has.get("avx512_bf16")):
            return "this CPU has neither AMX-BF16 nor AVX512-BF16"
        capability = torch.backends.cpu.get_cpu_capability()
        # Either may have been told to use less than there is.
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported() or not capability.startswith("AVX512"):
            return "oneDNN or torch is kept from using AVX-512: see ONEDNN_MAX_CPU_ISA and ATEN_CPU_CAPABILITY"
        return None
    if not (has.get("amx_int8") or has.get("avx512_vnni") or has.get("avx_vnni")):
        return "this CPU has neither AMX-INT8 nor VNNI"
    return None if _sums_int8_exactly() else "oneDNN is kept from using VNNI: see ONEDNN_MAX_CPU_ISA"


def _sums_int8_exactly() -> bool:
    """Whether products of int8 are summed in 32 bits: without VNNI, two of them are in 16, which may not hold them."""
    count, largest = 64, 127
    weight = torch.ops.onednn.qlinear_prepack(torch.full((16, count), largest, dtype=torch.int8), None)
    codes, scales, shifts = torch.full((1, count), 255, dtype=torch.uint8), torch.ones(16), torch.zeros(16).int()
    found = torch.ops.onednn.qlinear_pointwise(
        codes, 1.0, 0, weight, scales, shifts, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return bool((found == count * 255 * largest).all())
