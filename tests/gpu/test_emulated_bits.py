"""The GPU against the emulation of the same sources: the same bits, or as few steps apart as their arithmetic allows.

What only moves and counts has to be equal. Elsewhere the device approximates exp2 and rsqrt, and fuses what the host
rounds twice; the bounds are those between the emulation and the interpreter of device code (tests/kernels/test_ptx_*).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from kernels.device.tools import MissingTool
from kernels.emulated_ops import KERNEL_OPS, load
from ops.cases import parts
from torch import Tensor

from gpu.op_cases import cases, on_device

# Emulated, the longest sequences take seconds with large heads; they take no other way than those with small ones.
_SLOW = {f"D{head_size}-layout3" for head_size in (96, 128, 256)}
_CASES = [case for case in cases() if case.op in KERNEL_OPS and case.what not in _SLOW]


@dataclass(frozen=True)
class Distance:
    """ulps: steps of the stored type; floor: a distance that is allowed near zero, where terms cancel."""

    ulps: int = 0
    floor: float = 0.0


_UNIT_ROUNDOFF = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
_EXACT = Distance()


def _allowed(op: str, dtype: torch.dtype, arguments: dict[str, Any]) -> Distance:
    if op == "bias_gelu":
        return Distance(2 if dtype == torch.float32 else 1, 2.0**-24)
    if op in ("residual_layer_norm", "embedding_layer_norm"):
        return Distance(2, 2.0**-20)
    if op in ("varlen_attention", "first_token_attention"):
        head_size = arguments["qkv" if op == "varlen_attention" else "query"].shape[-1]
        on_tensor_cores = op == "varlen_attention" and dtype != torch.float32 and head_size in (32, 64, 128)
        # A step of the largest values, below 8, is what a weight that falls to the other side makes of it.
        return Distance(1, 4.0 * _UNIT_ROUNDOFF[dtype] if on_tensor_cores else 2.0**-20)
    return _EXACT


@pytest.fixture(scope="session")
def emulated(target: Any) -> Any:
    try:
        library = load()
    except MissingTool as missing:
        pytest.skip(str(missing))
    if target.real:
        major, minor = torch.cuda.get_device_capability(target.device)
        library.set_compute_capability(10 * major + minor)
    return library


@pytest.mark.parametrize("case", _CASES, ids=str)
def test_against_the_emulation(case, emulated, target):
    if case.dtype == torch.bfloat16 and target.real and torch.cuda.get_device_capability(target.device) < (8, 0):
        pytest.skip("bfloat16 takes compute capability 8.0")
    if not target.real:
        # The CPU's reference has an arithmetic of its own; what is exercised here is the comparison.
        allowed, run = _EXACT, emulated
    else:
        allowed, run = _allowed(case.op, case.dtype, case.make()), torch.ops.bertfast
    actual = parts(getattr(run, case.op)(**on_device(case.make(), target.device)))
    expected = parts(getattr(emulated, case.op)(**case.make()))
    for got, wanted in zip(actual, expected, strict=True):
        assert_near(got.cpu(), wanted, allowed)


def assert_near(actual: Tensor, expected: Tensor, allowed: Distance) -> None:
    """At most so many steps or so far apart; NaN is near to nothing but NaN of the same place when bits are equal."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if not actual.is_floating_point():
        assert torch.equal(actual, expected)
        return
    steps = (_ordinals(actual) - _ordinals(expected)).abs()
    near = (actual.double() - expected.double()).abs() <= allowed.floor
    assert ((steps <= allowed.ulps) | near).all(), f"{int(steps.max())} steps apart"


def _ordinals(x: Tensor) -> Tensor:
    """Neighbouring values have neighbouring numbers, -0 and 0 the same one."""
    size, sign = (torch.int32, -(2**31)) if x.element_size() == 4 else (torch.int16, -(2**15))
    bits = x.contiguous().view(size).to(torch.int64)
    return torch.where(bits < 0, sign - bits, bits)


@pytest.mark.parametrize("dtype", _UNIT_ROUNDOFF, ids=str)
def test_the_comparison_sees_one_step(dtype):
    one = torch.ones(3, dtype=dtype)
    next_one = torch.nextafter(one.float(), 2 * one.float()) if dtype == torch.float32 else one + torch.finfo(dtype).eps
    assert_near(next_one.to(dtype), one, Distance(1))
    assert_near(-torch.zeros(3, dtype=dtype), torch.zeros(3, dtype=dtype), _EXACT)
    with pytest.raises(AssertionError, match="1 steps apart"):
        assert_near(next_one.to(dtype), one, _EXACT)
    with pytest.raises(AssertionError):
        assert_near(torch.full((3,), torch.nan, dtype=dtype), one, Distance(2, 1.0))
