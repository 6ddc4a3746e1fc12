"""The kernel of ``bias_gelu`` against the definition in float64 and against torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.cases import activation_oracle, randn
from tolerances import KERNEL_RATIO, TOLERANCES, assert_no_further_from_truth, relative_error

_DTYPES = [torch.float32, torch.float16, torch.bfloat16]
_ACTIVATIONS = ["erf", "tanh", "relu"]


def _check(emulated, x, bias, activation):
    out = emulated.bias_gelu(x, bias, activation)
    assert out.dtype == x.dtype
    truth = activation_oracle(x.double() + bias.double(), activation)
    few = 8 if truth.numel() < 64 else 1  # where one element decides and x + bias nearly cancels
    assert relative_error(out, truth) <= few * TOLERANCES[x.dtype].op
    reference = torch.ops.bertfast.bias_gelu(x, bias, activation)
    assert_no_further_from_truth(out, reference, truth, few * KERNEL_RATIO)


@pytest.mark.parametrize("activation", _ACTIVATIONS)
@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("inner_size", [1, 5, 64, 1000, 3072, 4096])
@pytest.mark.parametrize("num_tokens", [0, 1, 2, 33])
def test_sizes(emulated, num_tokens, inner_size, dtype, activation):
    x, bias = randn(num_tokens, inner_size, dtype=dtype), randn(inner_size, dtype=dtype)
    x[x + bias == 0] = 1
    _check(emulated, x, bias, activation)


@settings(max_examples=60)
@given(st.integers(0, 9), st.integers(0, 300), st.sampled_from(_DTYPES), st.sampled_from(_ACTIVATIONS))
def test_any_size(emulated_library, num_tokens, inner_size, dtype, activation):
    torch.manual_seed(inner_size)
    x, bias = randn(num_tokens, inner_size, dtype=dtype), randn(inner_size, dtype=dtype)
    x[x + bias == 0] = 1
    _check(emulated_library, x, bias, activation)


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
def test_every_16_bit_value(emulated, dtype):
    """All finite values of a 16-bit type, as float32 too: no argument has a bad spot."""
    narrow = torch.float16 if dtype == torch.float32 else dtype
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(narrow).to(dtype)
    x = x[x.isfinite()].view(-1, 8)
    bias = torch.zeros(8, dtype=dtype)
    for activation in _ACTIVATIONS:
        out = emulated.bias_gelu(x, bias, activation).double()
        truth = activation_oracle(x, activation).nan_to_num(0.0)
        # Half a step of the stored type, near zero half of its smallest one, and the error of the float inside.
        info = torch.finfo(dtype)
        allowed = (
            0.5 * info.eps * truth.abs() + 0.5 * info.smallest_normal * info.eps + 3e-7 * x.double().abs().clamp(max=1)
        )
        assert ((out - truth).abs() <= 1.01 * allowed).all()


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("activation", _ACTIVATIONS)
def test_what_is_not_finite(emulated, activation, dtype):
    """As PyTorch's op in float64. Its op of 16 or 32 bits on the CPU makes NaN of infinity, too, by "erf"."""
    x = torch.tensor([float("inf"), float("-inf"), float("nan"), 1.0, -1.0], dtype=dtype).repeat(2, 8)
    for inner_size in (40, 5):
        rows, bias = x.reshape(-1, inner_size), torch.zeros(inner_size, dtype=dtype)
        out = emulated.bias_gelu(rows, bias, activation).double()
        truth = torch.ops.bertfast.bias_gelu(rows.double(), bias.double(), activation)
        torch.testing.assert_close(out, truth, rtol=TOLERANCES[dtype].op, atol=0.0, equal_nan=True)
