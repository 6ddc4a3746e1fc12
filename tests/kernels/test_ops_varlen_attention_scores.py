"""The kernels of ``varlen_attention`` where scores are so large, or so far apart, that a softmax may lose itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ops.cases import offsets, randn
from tolerances import TOLERANCES
from torch import Tensor

_F32, _F16, _BF16 = torch.float32, torch.float16, torch.bfloat16
# (dtype, head size, compute capability): tensor cores of either generation, and the exact path for each dtype.
_PATHS = [
    (_F16, 64, 80),
    (_BF16, 64, 80),
    (_F16, 64, 75),
    (_F32, 64, 80),
    (_F32, 64, 75),
    (_F16, 40, 75),
    (_BF16, 40, 80),
]
_INF = math.inf


def _fill(qkv: Tensor, query: float, key: float) -> None:
    qkv[:, 0], qkv[:, 1] = query, key


def _keys(qkv: Tensor, key: float, chosen: slice) -> None:
    """Queries of 1, so that a row of keys has the score of its elements."""
    qkv[:, 0] = 1
    qkv[chosen, 1] = key


def _nothing(qkv: Tensor) -> None:
    del qkv


# What is done to random q, k and v, and the scale.
_CASES: dict[str, tuple[Callable[[Tensor], None], float]] = {
    "equal and large": (lambda qkv: _fill(qkv, 2e4, 2e4), 0.125),
    "equal and very negative": (lambda qkv: _fill(qkv, 2e4, -2e4), 0.125),
    "large and far apart": (lambda qkv: qkv[:, :2].mul_(5e3), 1.0),
    "a large scale": (_nothing, 1e20),
    "a scale near the largest float": (_nothing, 3e38),
    "a scale near the largest float, and no score": (lambda qkv: _fill(qkv, 0.0, 1.0), 3e38),
    "the smallest scale": (_nothing, 1e-45),
    "some of minus infinity": (lambda qkv: _keys(qkv, -_INF, slice(0, None, 2)), 0.125),
    "minus infinity until the last": (lambda qkv: _keys(qkv, -_INF, slice(0, -1)), 0.125),
    "minus infinity after the first": (lambda qkv: _keys(qkv, -_INF, slice(1, None)), 0.125),
    "all of minus infinity": (lambda qkv: _keys(qkv, -_INF, slice(None)), 0.125),
    "one of infinity": (lambda qkv: _keys(qkv, _INF, slice(-1, None)), 0.125),
}


def _check(emulated: Any, qkv: Tensor, scale: float) -> None:
    length = len(qkv)
    arguments = (offsets([length]), None, length, scale)
    out = emulated.varlen_attention(qkv, *arguments)
    truth = torch.ops.bertfast.varlen_attention(qkv.double(), *arguments)
    tolerance = 4 * TOLERANCES[qkv.dtype].op
    torch.testing.assert_close(out.double(), truth, rtol=tolerance, atol=tolerance, equal_nan=True)
    # Where PyTorch's own op of this dtype has a number, the kernel has one.
    own = torch.ops.bertfast.varlen_attention(qkv, *arguments)
    assert out[own.isfinite()].isfinite().all()


@pytest.mark.parametrize("case", _CASES)
@pytest.mark.parametrize("length", [1, 20, 100, 150])
@pytest.mark.parametrize("path", _PATHS, ids=str)
def test_scores(emulated: Any, path: tuple[torch.dtype, int, int], length: int, case: str) -> None:
    dtype, head_size, compute_capability = path
    emulated.set_compute_capability(compute_capability)
    qkv = randn(length, 3, 1, head_size, dtype=dtype)
    change, scale = _CASES[case]
    change(qkv)
    _check(emulated, qkv, scale)


@pytest.mark.parametrize("value", [_INF, -_INF, math.nan])
@pytest.mark.parametrize("length", [20, 150])
@pytest.mark.parametrize("path", _PATHS, ids=str)
def test_no_weight_hides_no_value(emulated: Any, path: tuple[torch.dtype, int, int], length: int, value: float) -> None:
    """Where every score is -infinity the result is 0, unless a value is no finite number, which shows as NaN."""
    dtype, head_size, compute_capability = path
    emulated.set_compute_capability(compute_capability)
    qkv = randn(length, 3, 1, head_size, dtype=dtype)
    _keys(qkv, -_INF, slice(None))
    qkv[length // 2, 2, 0, 3] = value
    out = emulated.varlen_attention(qkv, offsets([length]), None, length, 0.125)
    assert out[:, 0, 3].isnan().all()
    assert (out[:, 0, :3] == 0).all()


@pytest.mark.parametrize("length", [1, 20, 150])
@pytest.mark.parametrize("path", _PATHS, ids=str)
def test_no_number(emulated: Any, path: tuple[torch.dtype, int, int], length: int) -> None:
    """Also with one key, for which PyTorch's op on the CPU gives 0."""
    dtype, head_size, compute_capability = path
    emulated.set_compute_capability(compute_capability)
    qkv = randn(length, 3, 1, head_size, dtype=dtype)
    _keys(qkv, math.nan, slice(0, 1))
    assert emulated.varlen_attention(qkv, offsets([length]), None, length, 0.125).isnan().all()


@pytest.mark.parametrize(
    ("path", "length"), [((_BF16, 64), 20), ((_BF16, 64), 150), ((_F32, 64), 150), ((_BF16, 40), 20)]
)
def test_difference_beyond_float(emulated: Any, path: tuple[torch.dtype, int], length: int) -> None:
    """Half of the scores are -2e38 and half 2e38, which a small scale brings near each other."""
    dtype, head_size = path
    qkv = randn(length, 3, 1, head_size, dtype=dtype)
    _fill(qkv, (2e38 / head_size) ** 0.5, (2e38 / head_size) ** 0.5)
    qkv[::2, 1] *= -1
    _check(emulated, qkv, 2e-39)
