"""What a device makes of a precision that is asked for, by the dtype of the weights and the CPU's instructions."""

from __future__ import annotations

import pytest
import torch

from bertfast import cpu_dense, cpu_extension
from bertfast.backends import CpuBackend, CudaBackend, resolve_precision
from bertfast.errors import PrecisionError
from bertfast.linear import missing
from bertfast.precision import PRECISIONS, Choice

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


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_who_multiplies_is_asked(precision, cpu_with, monkeypatch):
    """Native kernels do, where they are: what oneDNN lacks does not matter then."""
    cpu_with("avx2")
    assert missing(precision) is not None
    monkeypatch.setattr(cpu_dense, "serves", lambda name: name == precision)
    assert missing(precision) is None
    assert CpuBackend().resolve(precision, _FLOAT32) == Choice(precision)


_AVX512 = ("avx512_f", "avx512_bw", "avx512_vl", "avx512_dq", "fma3")


@pytest.fixture
def not_built(monkeypatch):
    monkeypatch.setattr(cpu_extension, "available", lambda: False)
    monkeypatch.setattr(cpu_extension, "why_not", lambda: "nobody has built them; build them")


@pytest.mark.parametrize(
    ("precision", "instructions", "advised"),
    [
        ("bfloat16", (*_AVX512, "avx512_bf16"), True),
        ("int8", (*_AVX512, "avx512_vnni"), True),
        ("bfloat16", ("avx512_bf16",), False),
        ("bfloat16", (*_AVX512, "amx_bf16"), False),
        ("int8", ("avx_vnni",), False),
    ],
)
def test_kernels_that_could_run_and_are_not_there_are_told_of(precision, instructions, advised, cpu_with, not_built):
    cpu_with(*instructions)
    advice = (
        f"this CPU could run bertfast's own kernels in {precision}, and they are not there: nobody has built them; "
        "build them"
    )
    assert CpuBackend().resolve(precision, _FLOAT32) == Choice(precision, advice=advice if advised else None)


def test_kernels_that_were_turned_off_are_not_told_of(cpu_with, not_built, monkeypatch):
    cpu_with(*_AVX512, "avx512_bf16")
    monkeypatch.setenv("BERTFAST_CPU_KERNELS", "0")
    assert CpuBackend().resolve("bfloat16", _FLOAT32) == Choice("bfloat16")
