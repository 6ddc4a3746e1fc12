"""``residual_layer_norm`` and ``embedding_layer_norm`` against the definition of LayerNorm."""

from __future__ import annotations

import pytest
import torch
from tolerances import TOLERANCES, relative_error

from bertfast.ops import embedding_layer_norm, residual_layer_norm
from ops.cases import DTYPES, OPS, TOKENS, layer_norm_oracle, randn

_HIDDEN = [2, 15, 64, 384, 1000]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("hidden_size", _HIDDEN)
@pytest.mark.parametrize("num_tokens", TOKENS)
def test_residual_layer_norm(num_tokens, hidden_size, dtype):
    x, residual = randn(2, num_tokens, hidden_size, dtype=dtype)
    weight, bias = randn(2, hidden_size, dtype=dtype)
    eps = 1e-2
    out = residual_layer_norm(x, residual, weight, bias, eps)
    assert out.dtype == dtype
    assert out.is_contiguous()
    wanted = layer_norm_oracle(x.double() + residual.double(), weight, bias, eps)
    # With two columns a difference of two sums decides, and the rounding of one sum with it.
    few = 8 if hidden_size < 15 else 1
    assert relative_error(out, wanted) <= few * TOLERANCES[dtype].op


@pytest.mark.parametrize("ids_dtype", [torch.int64, torch.int32], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("hidden_size", _HIDDEN[1:])
@pytest.mark.parametrize("num_tokens", TOKENS)
def test_embedding_layer_norm(num_tokens, hidden_size, dtype, ids_dtype):
    tables = [randn(rows, hidden_size, dtype=dtype) for rows in (31, 3, 19)]
    ids = [torch.randint(0, len(table), (num_tokens,), dtype=ids_dtype) for table in tables]
    weight, bias = randn(2, hidden_size, dtype=dtype)
    eps = 1e-2
    out = embedding_layer_norm(*ids, *tables, weight, bias, eps)
    assert out.dtype == dtype
    assert out.is_contiguous()
    total = torch.zeros(num_tokens, hidden_size, dtype=torch.float64)
    for index, table in zip(ids, tables, strict=True):
        for token, row in enumerate(index.tolist()):
            total[token] += table[row].double()
    # Two roundings of the sum, where the residual has one.
    assert relative_error(out, layer_norm_oracle(total, weight, bias, eps)) <= 2 * TOLERANCES[dtype].op


def test_ids_of_two_dtypes():
    arguments = OPS["embedding_layer_norm"].make(7, torch.float32)
    expected = embedding_layer_norm(**arguments)
    arguments["token_type_ids"] = arguments["token_type_ids"].int()
    assert torch.equal(embedding_layer_norm(**arguments), expected)


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 1.0])
def test_eps(eps):
    # Rows of small variance, where eps decides.
    x = 1e-3 * randn(7, 64)
    weight, bias = randn(2, 64)
    out = residual_layer_norm(x, torch.zeros_like(x), weight, bias, eps)
    assert relative_error(out, layer_norm_oracle(x, weight, bias, eps)) <= 1e-13


def test_a_constant_row_gives_the_bias():
    bias = randn(64, dtype=torch.float32)
    x = torch.full((3, 64), 5.0)
    out = residual_layer_norm(x, x, torch.ones(64), bias, 1e-5)
    assert torch.equal(out, bias.expand(3, 64))


def test_variance_around_a_large_mean():
    """E[x^2] - E[x]^2 in float32 would be wrong by some percent here; two passes lose the mean's rounding only."""
    x = (1000 + randn(64, 384)).float()
    weight, bias = torch.ones(384), torch.zeros(384)
    out = residual_layer_norm(x, torch.zeros_like(x), weight, bias, 1e-12)
    assert relative_error(out, layer_norm_oracle(x, weight, bias, 1e-12)) <= 2e-4


def test_an_id_out_of_range_raises():
    arguments = OPS["embedding_layer_norm"].make(7, torch.float32)
    arguments["input_ids"][3] = 31
    with pytest.raises(IndexError):
        embedding_layer_norm(**arguments)
