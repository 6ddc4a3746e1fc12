"""The CPU kernel of bias + activation against float64: a table, which must not be less exact than PyTorch."""

from __future__ import annotations

import pytest
import torch
from ops.cases import activation_oracle
from tolerances import TOLERANCES, assert_close

from bertfast.cpu_kernels import bias_gelu
from bertfast.linear.activation import activate_

_ACTIVATIONS = ["erf", "tanh", "relu"]


@pytest.mark.parametrize("activation", _ACTIVATIONS)
@pytest.mark.parametrize("width", [1, 15, 16, 17, 100, 3072])
def test_against_float64(threads, width, activation):
    generator = torch.Generator().manual_seed(width)
    for rows in (0, 1, 65):
        x, bias = torch.randn(rows, width, generator=generator), torch.randn(width, generator=generator)
        kept, wanted = x.clone(), activation_oracle(x.double() + bias.double(), activation)
        assert_close(bias_gelu(x, bias, activation).double(), wanted, TOLERANCES[torch.float32].op)
        assert torch.equal(x, kept)
        assert bias_gelu(x, bias, activation, out=x) is x
        assert_close(x.double(), wanted, TOLERANCES[torch.float32].op)


@pytest.mark.parametrize("activation", ["erf", "tanh"])
def test_nowhere_less_exact_than_pytorch(activation):
    """Over all pieces of the table, their ends and what lies beyond."""
    x = torch.cat([torch.linspace(-14, 14, 400_001), torch.arange(-40, 41) * 0.1875]).unsqueeze(0)
    wanted = activation_oracle(x.double(), activation)
    found = (bias_gelu(x, torch.zeros(x.shape[1]), activation) - wanted).abs()
    stock = (activate_(x.clone(), activation) - wanted).abs()
    assert found.max() <= stock.max()
    assert found.norm() <= stock.norm()


@pytest.mark.parametrize("activation", ["erf", "tanh"])
def test_small_values_keep_their_digits(activation):
    x = torch.cat([torch.logspace(-37, -2, 351), -torch.logspace(-37, -2, 351)]).unsqueeze(0)
    found = bias_gelu(x, torch.zeros(x.shape[1]), activation)
    torch.testing.assert_close(found.double(), activation_oracle(x.double(), activation), rtol=1e-5, atol=0)
    assert torch.equal(bias_gelu(torch.zeros(1, 3), torch.zeros(3), activation), torch.zeros(1, 3))


@pytest.mark.parametrize("activation", _ACTIVATIONS)
def test_what_is_not_finite_is_so_where_it_is_in_pytorch(activation):
    x = torch.tensor([[float("nan"), float("inf"), -float("inf"), 1e38, -1e38, 0.5]] * 5)
    found, stock = bias_gelu(x, torch.zeros(6), activation), activate_(x.clone(), activation)
    assert torch.equal(found.isnan(), stock.isnan())
    assert torch.equal(found.isinf(), stock.isinf())


def test_refusals():
    x, bias = torch.zeros(2, 4), torch.zeros(4)
    with pytest.raises(ValueError, match=r"bias: expected \[4\], got \[3\]"):
        bias_gelu(x, torch.zeros(3), "erf")
    with pytest.raises(ValueError, match=r"x: expected torch.float32"):
        bias_gelu(x.double(), bias, "erf")
    with pytest.raises(ValueError, match="activation: expected erf, tanh or relu, got 'silu'"):
        bias_gelu(x, bias, "silu")
    with pytest.raises(ValueError, match="out: expected"):
        bias_gelu(x, bias, "erf", out=torch.zeros(4, 2).t())
