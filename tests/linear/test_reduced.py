"""Dense layers in bfloat16 and int8: as far from float64 as rounding their inputs explains, and no further."""

from __future__ import annotations

import pytest
import torch
from ops.cases import activation_oracle, layer_norm_oracle
from ops.cases import randn as randn_of
from precisions import MULTIPLIERS, multiply_by
from tolerances import REDUCED_TOLERANCES, TOLERANCES, relative_error

from bertfast.linear import Norm, padded_rows, select_cpu_linear
from bertfast.linear.int8 import quantize_rows


@pytest.fixture(params=MULTIPLIERS, autouse=True)
def multiplier(request, monkeypatch):
    multiply_by(request.param, monkeypatch)


def randn(*shape):
    return randn_of(*shape, dtype=torch.float32)


_SHAPES = [(1, 64, 96), (2, 5, 7), (33, 384, 1152), (200, 96, 64), (21, 700, 800)]


def _layer(precision, rows, inner, outer):
    x, weight, bias = randn(rows, inner), randn(outer, inner) * inner**-0.5, randn(outer)
    layer = select_cpu_linear(torch.float32, precision)([weight], [bias])
    return layer, x, x.double() @ weight.double().t() + bias.double()


@pytest.mark.parametrize("shape", _SHAPES, ids=str)
def test_product(shape, precision):
    layer, x, wanted = _layer(precision, *shape)
    assert relative_error(layer(x), wanted) <= REDUCED_TOLERANCES[precision].dense


@pytest.mark.parametrize("activation", ["erf", "tanh", "relu"])
@pytest.mark.parametrize("shape", _SHAPES, ids=str)
def test_activated(shape, precision, activation):
    layer, x, wanted = _layer(precision, *shape)
    found = layer.activated(x, activation)
    assert relative_error(found, activation_oracle(wanted, activation)) <= REDUCED_TOLERANCES[precision].dense


@pytest.mark.parametrize("shape", _SHAPES, ids=str)
def test_add_norm(shape, precision):
    layer, x, wanted = _layer(precision, *shape)
    residual = randn(*wanted.shape)
    kept, norm = residual.clone(), Norm(randn(shape[2]), randn(shape[2]), 1e-2)
    out = layer.add_norm(x, residual, norm)
    assert out.dtype == torch.float32
    oracle = layer_norm_oracle(wanted + residual.double(), norm.weight, norm.bias, norm.eps)
    assert relative_error(out, oracle) <= REDUCED_TOLERANCES[precision].dense
    assert torch.equal(residual, kept)


def test_the_stream_is_not_rounded(precision):
    """A product of zero leaves the residual in float32."""
    layer = select_cpu_linear(torch.float32, precision)([torch.zeros(64, 32)], [torch.zeros(64)])
    residual, norm = randn(5, 64), Norm(torch.ones(64), torch.zeros(64), 1e-12)
    found = layer.add_norm(randn(5, 32), residual, norm)
    wanted = layer_norm_oracle(residual.double(), norm.weight, norm.bias, norm.eps)
    assert relative_error(found, wanted) <= TOLERANCES[torch.float32].op


def test_parts_one_under_the_other(precision):
    x, weight, bias = randn(7, 48), randn(97, 48) * 48**-0.5, randn(97)
    kind, sizes = select_cpu_linear(torch.float32, precision), (32, 64, 1)
    whole = kind([weight], [bias])
    assert torch.equal(kind(weight.split(sizes), bias.split(sizes))(x), whole(x))
    assert whole.num_bytes > 0


def test_a_batch_may_be_empty(precision):
    layer, x, _ = _layer(precision, 3, 64, 96)
    assert layer(x[:0]).shape == (0, 96)
    assert layer.activated(x[:0], "erf").shape == (0, 96)


def test_quantized_rows_are_nearest():
    """No value is further from its code than half a step; the largest has the largest code."""
    x = randn(9, 33) * torch.logspace(-6, 6, 9).unsqueeze(1)
    codes, scales = quantize_rows(x)
    assert codes.dtype == torch.uint8
    signed = codes.float() - 128
    assert torch.equal(signed.abs().amax(1), torch.full((9,), 127.0))
    assert ((signed * scales - x).abs() <= scales * (0.5 + 1e-4)).all()


@pytest.mark.parametrize("value", [0.0, 1e-45, 1e-38, 3e38], ids=str)
def test_quantized_rows_at_the_ends(value):
    """Rows without a normal scale may lose their values, which are smaller than any normal number."""
    x = torch.tensor([[value, -value, 0.0]])
    codes, scales = quantize_rows(x)
    assert (((codes.float() - 128) * scales - x).abs() <= max(value / 250, torch.finfo(torch.float32).tiny)).all()


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")], ids=str)
@pytest.mark.parametrize("precision", ["int8"], indirect=True)
def test_what_is_not_finite_stays_so(value, precision):
    """In its own row, and there only."""
    layer, x, _ = _layer(precision, 3, 64, 96)
    clean = layer(x)
    x[1, 5] = value
    found = layer(x)
    assert not torch.isfinite(found[1]).any()
    assert torch.equal(found[[0, 2]], clean[[0, 2]])


def test_padded_rows():
    """Whole tiles, never fewer rows, at most an eighth more beyond the first tiles, and few different numbers."""
    found = [padded_rows(rows) for rows in range(4097)]
    assert all(padded >= rows and padded % 16 == 0 for rows, padded in enumerate(found))
    assert all(8 * (padded - rows) <= rows for rows, padded in enumerate(found) if rows >= 128)
    assert len(set(found)) == 1 + 8 + 5 * 8
    assert found == sorted(found)


@pytest.mark.parametrize("precision", ["int8"], indirect=True)
@pytest.mark.parametrize(
    ("instructions", "dtype"), [("avx512_bf16", torch.bfloat16), ("avx512_vnni", torch.float32)], ids=str
)
def test_int8_gives_attention_what_the_cpu_is_fast_in(instructions, dtype, precision, cpu_with):
    cpu_with(instructions)
    layer, x, wanted = _layer(precision, 33, 96, 64)
    found = layer(x)
    assert found.dtype == dtype
    assert relative_error(found, wanted) <= REDUCED_TOLERANCES[precision].dense
    assert layer.activated(x, "erf").dtype == torch.float32


@pytest.mark.parametrize("activation", ["erf", "tanh", "relu"])
def test_nan_is_not_activated_away(precision, activation):
    weight, bias = randn(96, 64), randn(96)
    bias[3] = float("nan")
    found = select_cpu_linear(torch.float32, precision)([weight], [bias]).activated(randn(5, 64), activation)
    assert found[:, 3].isnan().all()
    assert torch.isfinite(found[:, 4:]).all()
