"""The kernel of ``residual_layer_norm`` against the definition in float64 and against torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.cases import OPS, layer_norm_oracle, randn
from tolerances import KERNEL_RATIO, TOLERANCES, assert_no_further_from_truth, relative_error

_DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def _check(emulated, num_tokens, hidden_size, dtype, eps=1e-2, *, has_x_bias=False):
    x, residual = randn(2, num_tokens, hidden_size, dtype=dtype)
    weight, bias = randn(2, hidden_size, dtype=dtype)
    x_bias = randn(hidden_size, dtype=dtype) if has_x_bias else None
    out = emulated.residual_layer_norm(x, residual, weight, bias, eps, x_bias)
    assert out.dtype == dtype
    total = x.double() + residual.double() + (0 if x_bias is None else x_bias.double())
    truth = layer_norm_oracle(total, weight, bias, eps)
    few = 8 if hidden_size < 15 else 1  # a difference of two sums decides, and the rounding of one sum with it
    assert relative_error(out, truth) <= few * TOLERANCES[dtype].op
    reference = torch.ops.bertfast.residual_layer_norm(x, residual, weight, bias, eps, x_bias)
    assert_no_further_from_truth(out, reference, truth, few * KERNEL_RATIO)


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("hidden_size", [2, 15, 64, 384, 768, 1000, 1024, 1025, 4096, 8191, 8192])
@pytest.mark.parametrize("num_tokens", [0, 1, 2, 7])
def test_sizes(emulated, num_tokens, hidden_size, dtype):
    _check(emulated, num_tokens, hidden_size, dtype)


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("hidden_size", [15, 384, 768, 1000, 1025, 4096])
@pytest.mark.parametrize("num_tokens", [0, 1, 7])
def test_bias_of_x(emulated, num_tokens, hidden_size, dtype):
    _check(emulated, num_tokens, hidden_size, dtype, has_x_bias=True)


@settings(max_examples=60)
@given(st.integers(0, 9), st.integers(2, 1500), st.sampled_from(_DTYPES))
def test_any_size(emulated_library, num_tokens, hidden_size, dtype):
    torch.manual_seed(hidden_size)
    _check(emulated_library, num_tokens, hidden_size, dtype)


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 1.0])
def test_eps(emulated, eps):
    x = 1e-3 * randn(7, 64, dtype=torch.float32)  # rows of small variance, where eps decides
    weight, bias = randn(2, 64, dtype=torch.float32)
    out = emulated.residual_layer_norm(x, torch.zeros_like(x), weight, bias, eps)
    assert relative_error(out, layer_norm_oracle(x, weight, bias, eps)) <= TOLERANCES[torch.float32].op


def test_more_columns_than_a_block_holds(emulated):
    arguments = OPS["residual_layer_norm"].make(1, torch.float32)
    for name in ("x", "residual", "weight", "bias"):
        arguments[name] = arguments[name][..., :1].expand(*arguments[name].shape[:-1], 8193)
    with pytest.raises(ValueError, match=r"^x: expected at most 8192 along axis 1, got 8193$"):
        emulated.residual_layer_norm(**arguments)
