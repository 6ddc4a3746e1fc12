"""``bias_gelu`` against the definition of its activations."""

from __future__ import annotations

import pytest
import torch
from tolerances import TOLERANCES, assert_close, relative_error

from bertfast.ops import bias_gelu
from ops.cases import DTYPES, TOKENS, activation_oracle, randn

_ACTIVATIONS = ["erf", "tanh", "relu"]


@pytest.mark.parametrize("activation", _ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("inner_size", [1, 5, 64, 3072])
@pytest.mark.parametrize("num_tokens", TOKENS)
def test_oracle(num_tokens, inner_size, dtype, activation):
    x, bias = randn(num_tokens, inner_size, dtype=dtype), randn(inner_size, dtype=dtype)
    # Where x + bias nearly cancels, rounding it is all of the error: keep one element from deciding.
    x[x + bias == 0] = 1
    out = bias_gelu(x, bias, activation)
    assert out.dtype == dtype
    assert out.is_contiguous()
    wanted = activation_oracle(x.double() + bias.double(), activation)
    few = 8 if wanted.numel() < 64 else 1
    assert relative_error(out, wanted) <= few * TOLERANCES[dtype].op


def test_the_activations_differ():
    # erf and tanh are 1e-4 apart: each has to be itself, and erf is the default.
    x, bias = randn(64, 64, dtype=torch.float32), randn(64, dtype=torch.float32)
    exact, approximate = bias_gelu(x, bias), bias_gelu(x, bias, "tanh")
    assert torch.equal(exact, bias_gelu(x, bias, "erf"))
    assert torch.equal(exact, torch.ops.bertfast.bias_gelu(x, bias))
    assert 1e-5 < relative_error(exact, approximate) < 1e-2


@pytest.mark.parametrize("activation", _ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_large_values(dtype, activation):
    x = torch.tensor([[-1e4, -40, 0, 40, 1e4]], dtype=dtype)
    out = bias_gelu(x, torch.zeros(5, dtype=dtype), activation)
    assert out.tolist() == [[0, 0, 0, 40, x[0, 4].item()]]


@pytest.mark.parametrize("activation", _ACTIVATIONS)
def test_nan_stays_nan(activation):
    x = torch.tensor([[float("nan"), 1.0]])
    assert bias_gelu(x, torch.zeros(2), activation).isnan().tolist() == [[True, False]]


def test_inputs_are_left_alone():
    for activation in _ACTIVATIONS:
        x, bias = randn(3, 8), torch.zeros(8, dtype=torch.float64)
        kept = x.clone()
        out = bias_gelu(x, bias, activation)
        assert torch.equal(x, kept)
        assert out.data_ptr() != x.data_ptr()
        assert_close(out, activation_oracle(kept, activation), TOLERANCES[torch.float64].op)
