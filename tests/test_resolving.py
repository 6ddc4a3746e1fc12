"""What a device makes of a precision that is asked for, by the dtype of the weights and the CPU's instructions."""

from __future__ import annotations

import pytest
import torch

from bertfast.backends import CpuBackend, CudaBackend, resolve_precision
from bertfast.errors import PrecisionError
from bertfast.precision import PRECISIONS, Choice, missing

_FLOAT32, _BFLOAT16, _FLOAT16, _FLOAT64 = torch.float32, torch.bfloat16, torch.float16, torch.float64
_NO_BFLOAT16 = "this CPU has neither AMX-BF16 nor AVX512-BF16"
_NO_INT8 = "this CPU has neither AMX-INT8 nor VNNI"
_GPU = CudaBackend(torch.device("cuda", 1))

# Instruction sets of a CPU, by the precisions that they make fast.
_FAST = {
    "neither": ("avx2", "avx512_f"),
    "bfloat16": ("avx512_bf16",),
    "int8": ("avx512_vnni",),
    "both": ("amx_bf16", "amx_int8"),
}
_ON_A_CPU = [
    # asked, weights, what is fast, what is chosen
    (None, _FLOAT32, "both", Choice()),
    (None, _FLOAT16, "both", Choice()),
    ("float32", _FLOAT32, "both", Choice()),
    ("bfloat16", _BFLOAT16, "neither", Choice()),
    ("bfloat16", _FLOAT32, "bfloat16", Choice("bfloat16")),
    ("bfloat16", _FLOAT32, "int8", Choice(lacks=_NO_BFLOAT16)),
    ("int8", _FLOAT32, "int8", Choice("int8")),
    ("int8", _FLOAT32, "both", Choice("int8")),
    ("int8", _FLOAT32, "bfloat16", Choice(lacks=_NO_INT8)),
    ("auto", _FLOAT32, "bfloat16", Choice("bfloat16")),
    ("auto", _FLOAT32, "both", Choice("bfloat16")),
    ("auto", _FLOAT32, "int8", Choice()),
    ("auto", _FLOAT32, "neither", Choice()),
    ("auto", _BFLOAT16, "both", Choice()),
    ("auto", _FLOAT64, "both", Choice()),
]
_OF_OTHER_WEIGHTS = [
    ("float32", _BFLOAT16),
    ("float32", _FLOAT64),
    ("bfloat16", _FLOAT16),
    ("bfloat16", _FLOAT64),
    ("int8", _BFLOAT16),
    ("int8", _FLOAT16),
]


@pytest.mark.parametrize(("asked", "dtype", "fast", "expected"), _ON_A_CPU, ids=str)
def test_on_a_cpu(asked, dtype, fast, expected, cpu_with):
    cpu_with(*_FAST[fast])
    assert CpuBackend().resolve(asked, dtype) == expected
    assert resolve_precision(asked, torch.ones(2, dtype=dtype)) == expected


@pytest.mark.parametrize("fast", _FAST)
@pytest.mark.parametrize(("asked", "dtype"), _OF_OTHER_WEIGHTS, ids=str)
def test_other_weights_are_refused_whatever_the_cpu_has(asked, dtype, fast, cpu_with):
    cpu_with(*_FAST[fast])
    with pytest.raises(PrecisionError, match=rf"^precision='{asked}': the weights are {dtype}, .*model\.float\(\)$"):
        CpuBackend().resolve(asked, dtype)


@pytest.mark.parametrize(
    ("asked", "dtype"),
    [
        *((asked, dtype) for asked in (None, "auto") for dtype in (_FLOAT32, _BFLOAT16, _FLOAT16)),
        ("float32", _FLOAT32),
        ("bfloat16", _BFLOAT16),
    ],
    ids=str,
)
def test_on_a_gpu_the_dtype_of_the_weights_is_taken(asked, dtype):
    assert _GPU.resolve(asked, dtype) == Choice()


@pytest.mark.parametrize(
    ("asked", "dtype"),
    [("bfloat16", _FLOAT32), ("bfloat16", _FLOAT16), ("int8", _FLOAT32), ("int8", _BFLOAT16)],
    ids=str,
)
def test_on_a_gpu_no_other_precision_is_made(asked, dtype):
    with pytest.raises(PrecisionError, match=rf"'{asked}': .*cuda:1, expected cpu; .*model\.to\(torch\.bfloat16\)$"):
        _GPU.resolve(asked, dtype)


@pytest.mark.parametrize("dtype", [_BFLOAT16, _FLOAT16], ids=str)
def test_on_a_gpu_float32_is_a_conversion_of_the_model(dtype):
    """Not one to bfloat16."""
    with pytest.raises(PrecisionError, match=r"convert the model first: model\.float\(\)$"):
        _GPU.resolve("float32", dtype)


@pytest.mark.parametrize("asked", PRECISIONS)
def test_where_nothing_runs_nothing_is_chosen(asked):
    assert resolve_precision(asked, torch.empty(2, device="meta")) == Choice()


@pytest.mark.parametrize(
    ("precision", "instructions", "reason"),
    [
        *(("bfloat16", has, None) for has in ("amx_bf16", "avx512_bf16")),
        *(("int8", has, None) for has in ("amx_int8", "avx512_vnni", "avx_vnni")),
        *(("bfloat16", has, _NO_BFLOAT16) for has in ("avx2", "amx_int8", "avx512_vnni", "avx_vnni", "amx_fp16")),
        *(("int8", has, _NO_INT8) for has in ("avx2", "amx_bf16", "avx512_bf16", "avx512_f")),
    ],
)
def test_each_instruction_set_that_is_fast_is_enough(precision, instructions, reason, cpu_with):
    cpu_with(instructions)
    assert missing(precision) == reason


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_without_onednn_nothing_is_fast(precision, cpu_with, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    cpu_with("amx_bf16", "amx_int8")
    assert missing(precision) == "this torch was built without oneDNN"
