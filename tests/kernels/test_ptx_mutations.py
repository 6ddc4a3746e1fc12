"""The interpreter notices what is wrong in device code alone, where the emulation cannot look: nvcc's text, changed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.comparison import normal
from kernels.device.compiler import DeviceCode
from kernels.device_runs import DeviceRuns
from kernels.elements import ELEMENTS
from kernels.ptx import Fault
from kernels.ptx.kinds import Array

pytestmark = pytest.mark.slow

_FLOAT16 = ELEMENTS[1]


@dataclass(frozen=True)
class Mutation:
    """Every match of the pattern in the PTX of ``source`` becomes ``replacement``."""

    name: str
    source: str
    pattern: str
    replacement: str

    def __str__(self) -> str:
        return self.name


_LAYER_NORM, _ATTENTION = "residual_layer_norm", "varlen_attention_tensor"
_MUTATIONS = (
    Mutation("nothing", _LAYER_NORM, r"\Z", "\n"),
    Mutation("nothing, attention", _ATTENTION, r"\Z", "\n"),
    Mutation("halves exchanged", _LAYER_NORM, r"(cvt\.rn\.f16x2\.f32\s+%\w+), (%\w+), (%\w+);", r"\1, \3, \2;"),
    Mutation("no barrier", _LAYER_NORM, r"bar\.sync\s+0;", ""),
    Mutation("another lane", _LAYER_NORM, r"shfl\.sync\.bfly", "shfl.sync.up"),
    Mutation("root for its reciprocal", _LAYER_NORM, r"rsqrt\.approx\.f32", "sqrt.rn.f32"),
    Mutation("values not transposed", _ATTENTION, r"\.trans\.", "."),
    Mutation("fragments exchanged", _ATTENTION, r"\{(%r\d+), (%r\d+)\}(, \{%f)", r"{\2, \1}\3"),
    Mutation("absent rows copied", _ATTENTION, r"(cp\.async\.cg\.shared\.global[^;]*, 16), %r\d+;", r"\1;"),
    Mutation("copies not waited for", _ATTENTION, r"cp\.async\.wait_group \d+;", "cp.async.wait_group 9;"),
    Mutation("copies not committed", _ATTENTION, r"cp\.async\.commit_group;", ""),
)


@pytest.mark.parametrize("mutation", _MUTATIONS, ids=str)
def test_mutation_is_noticed(
    runs: DeviceRuns, device_code: list[DeviceCode], mutation: Mutation, tmp_path: Path
) -> None:
    code = next(code for code in device_code if (code.source, code.architecture) == (mutation.source, "80"))
    text, count = re.subn(mutation.pattern, mutation.replacement, code.ptx.read_text())
    assert count > 0, "the pattern is nowhere in the PTX"
    path = tmp_path / "changed.ptx"
    path.write_text(text)
    changed = DeviceRuns(runs.launchers, [replace(code, ptx=path)])
    check = _layer_norm_is_right if mutation.source == _LAYER_NORM else _attention_is_right
    assert check(changed) == mutation.name.startswith("nothing")


def _is_right(got: Array, emulated: Array) -> bool:
    return bool(np.abs(_FLOAT16.to_float64(got) - _FLOAT16.to_float64(emulated)).max() <= 2.0**-8)  # not for NaN


def _layer_norm_is_right(runs: DeviceRuns) -> bool:
    """Rows that take several warps."""
    shape, row = (2, 3072), (3072,)
    inputs = {name: normal(_FLOAT16, i, row) for i, name in enumerate(("x_bias", "weight", "bias"))}
    inputs |= {name: normal(_FLOAT16, i, shape) for i, name in enumerate(("x", "residual"), 3)}
    out = _FLOAT16.empty(shape)
    scalars: dict[str, Any] = {"num_tokens": 2, "hidden_size": 3072, "eps": 1e-12, "dtype": _FLOAT16.number}
    try:
        emulated = runs.run("residual_layer_norm", "80", inputs, {"out": out}, **scalars)
    except Fault:
        return False
    return _is_right(out, emulated["out"])


def _attention_is_right(runs: DeviceRuns) -> bool:
    """A sequence that fills its tile, and one at the end of the tensor that does not."""
    offsets = np.array([0, 64, 93], np.int32)
    qkv = normal(_FLOAT16, 1, (93, 3, 1, 64), deviation=2.0)
    out = _FLOAT16.empty((93, 1, 64))
    inputs: dict[str, Array | None] = {"qkv": qkv, "cu_seqlens": offsets, "key_lengths": None}
    scalars: dict[str, Any] = {"num_tokens": 93, "num_sequences": 2, "num_heads": 1, "head_size": 64, "max_seqlen": 64}
    options: dict[str, Any] = {"scale": 0.125, "compute_capability": 80, "dtype": _FLOAT16.number}
    try:
        emulated = runs.run("varlen_attention", "80", inputs, {"out": out}, **scalars, **options)
    except Fault:
        return False
    return _is_right(out, emulated["out"])
