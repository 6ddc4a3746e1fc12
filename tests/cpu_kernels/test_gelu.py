"""csrc/cpu/gelu.h, the table of degree three: against float64 over all floats that matter, and at the ends."""

from __future__ import annotations

import pytest
import torch
from ops.cases import activation_oracle
from torch import Tensor

# Of the result; what gelu.h promises.
_BOUND = 1e-6
_INF = float("inf")


@pytest.fixture(params=["erf", "tanh"])
def activation(request):
    return request.param


def _gelu(native, activation: str, x: Tensor) -> Tensor:
    out = torch.empty_like(x)
    native._probe_gelu(activation, x.data_ptr(), out.data_ptr(), x.numel())
    return out


def test_a_dense_grid(native, activation):
    """Two million points, among them the ends of each of the 32 pieces and the floats beside them."""
    ends = torch.arange(33) * (6 / 32)
    ends = torch.cat([ends, ends.nextafter(torch.tensor(_INF)), ends.nextafter(torch.tensor(-_INF))])
    x = torch.cat([torch.linspace(-8, 8, 2_000_003), ends, -ends])
    error = (_gelu(native, activation, x).double() - activation_oracle(x, activation)).abs()
    # A large result has a rounding of its own.
    assert (error <= _BOUND + x.abs().double() * 2.0**-24).all()


def test_every_bfloat16(native, activation):
    x = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16).float()
    x = x[x.isfinite()]
    error = (_gelu(native, activation, x).double() - activation_oracle(x.double(), activation).nan_to_num()).abs()
    assert (error <= _BOUND + x.abs().double() * 2.0**-24).all()


def test_small_values(native, activation):
    """Down to zero, of either sign, and denormals: the error stays absolute."""
    sizes = torch.tensor([0.0, 1e-45, 1e-40, 1.2e-38, 1e-30, 1e-10, 1e-6, 1e-4])
    x = torch.cat([sizes, -sizes])
    error = (_gelu(native, activation, x).double() - activation_oracle(x, activation)).abs()
    assert (error <= _BOUND).all()


def test_large_values(native, activation):
    """Far to the right it is x itself, far to the left zero."""
    sizes = torch.tensor([6.5, 10.0, 1e4, 1e30, 3e38])
    assert torch.equal(_gelu(native, activation, sizes), sizes)
    assert (_gelu(native, activation, -sizes).abs() <= _BOUND).all()


def test_infinity(native, activation):
    """As PyTorch has it for what is contiguous: NaN where its formula multiplies infinity by zero."""
    x = torch.tensor([_INF, -_INF])
    stock = torch.nn.functional.gelu(x.repeat(16, 1), approximate={"erf": "none", "tanh": "tanh"}[activation])[0]
    assert torch.equal(_gelu(native, activation, x).nan_to_num(nan=7, posinf=8), stock.nan_to_num(nan=7, posinf=8))


def test_nan(native, activation):
    bits = torch.tensor([0x7FC00000, 0x7F800001, -0x400000, -0x7FFFFF], dtype=torch.int32)
    x = torch.cat([bits.view(torch.float32), torch.ones(1)])
    assert _gelu(native, activation, x).isnan().tolist() == [True] * 4 + [False]


@pytest.mark.parametrize("count", [1, 15, 16, 17])
def test_no_more_than_asked_for(native, activation, count):
    x, out = torch.ones(count), torch.full((count + 16,), 7.0)
    native._probe_gelu(activation, x.data_ptr(), out.data_ptr(), count)
    assert (out[count:] == 7).all()
