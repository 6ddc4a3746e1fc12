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


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("num_tokens", TOKENS)
def test_residual_layer_norm_with_the_bias_of_x(num_tokens, dtype):
    x, residual = randn(2, num_tokens, 64, dtype=dtype)
    weight, bias, x_bias = randn(3, 64, dtype=dtype)
    kept = x.clone()
    out = residual_layer_norm(x, residual, weight, bias, 1e-2, x_bias)
    wanted = layer_norm_oracle(x.double() + x_bias.double() + residual.double(), weight, bias, 1e-2)
    # Two roundings of the sum, where it has one without the bias.
    assert relative_error(out, wanted) <= 2 * TOLERANCES[dtype].op
    assert torch.equal(x, kept)


@pytest.mark.parametrize("ids_dtype", [torch.int64, torch.int32], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("hidden_size", _HIDDEN[1:])
@pytest.mark.parametrize("num_tokens", TOKENS)
def test_embedding_layer_norm(num_tokens, hidden_size, dtype, ids_dtype):
    tables = [randn(rows, hidden_size, dtype=dtype) for rows in (31, 3, 19)]
    ids = [torch.randint(0, len(table), (num_tokens,), dtype=ids_dtype) for table in tables]
    weight, bias = randn(2, hidden_size, dtype=dtype)
    eps = 1e-2
    out = embedding_layer_norm(*ids, *tables, weight, bias, eps)[0]
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
    expected = embedding_layer_norm(**arguments)[0]
    arguments["token_type_ids"] = arguments["token_type_ids"].int()
    assert torch.equal(embedding_layer_norm(**arguments)[0], expected)


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


def _embedding_arguments(num_positions, hidden_size=16):
    """Every argument, and ids that are all in range."""
    return {
        "input_ids": torch.randint(0, 31, (num_positions,)),
        "token_type_ids": torch.randint(0, 3, (num_positions,)),
        "position_ids": torch.randint(0, 19, (num_positions,)),
        "word_embeddings": randn(31, hidden_size),
        "token_type_embeddings": randn(3, hidden_size),
        "position_embeddings": randn(19, hidden_size),
        "weight": randn(hidden_size),
        "bias": randn(hidden_size),
        "eps": 1e-5,
    }


def test_rows_stand_at_their_indices():
    arguments = _embedding_arguments(40)
    indices = torch.randperm(40)[:13]
    every = embedding_layer_norm(**arguments)[0]
    assert torch.equal(embedding_layer_norm(**arguments, indices=indices)[0], every[indices])
    none = torch.zeros(0, dtype=torch.int64)
    assert embedding_layer_norm(**arguments, indices=none)[0].shape == (0, 16)


@pytest.mark.parametrize("packed", [False, True])
def test_ids_left_out(packed):
    """None stands for the position itself, for type 0 and for the column."""
    arguments = _embedding_arguments(30)
    position = torch.arange(30)
    arguments.update(input_ids=position, token_type_ids=torch.zeros_like(position), position_ids=position % 6)
    if packed:
        arguments["indices"] = torch.randperm(30)[:17]
    arguments["word_embeddings"] = arguments["word_embeddings"][:30]
    expected = embedding_layer_norm(**arguments)[0]
    for name in ("input_ids", "token_type_ids", "position_ids"):
        arguments[name] = None
        assert torch.equal(embedding_layer_norm(**arguments, padded_len=6)[0], expected), name


_TABLES = [("input_ids", 31, 1), ("token_type_ids", 3, 2), ("position_ids", 19, 4)]
_BAD_IDS = [-1, -(2**31), -(2**63), 2**31 - 1, 2**63 - 1]


@pytest.mark.parametrize(("name", "rows", "bit"), _TABLES)
def test_an_id_out_of_range_is_flagged_and_clamped(name, rows, bit):
    clean = _embedding_arguments(7)
    for bad in (*_BAD_IDS, rows):
        arguments, clamped = dict(clean), dict(clean)
        for changed, value in ((arguments, bad), (clamped, 0 if bad < 0 else rows - 1)):
            changed[name] = clean[name].clone()
            changed[name][4] = value
        out, bits = embedding_layer_norm(**arguments, checks_ids=True)
        assert bits.tolist() == [bit], bad
        assert bits.dtype == torch.int32
        assert torch.equal(out, embedding_layer_norm(**clamped)[0]), bad
        # Only ids of the rows that are asked for count.
        _, bits = embedding_layer_norm(**arguments, indices=torch.tensor([0, 3, 6]), checks_ids=True)
        assert bits.tolist() == [0]


def test_flags_of_several_tables():
    arguments = _embedding_arguments(7)
    assert embedding_layer_norm(**arguments)[1].tolist() == []
    arguments["token_type_ids"][0] = 3
    arguments["position_ids"][6] = -1
    assert embedding_layer_norm(**arguments, checks_ids=True)[1].tolist() == [2 | 4]


@pytest.mark.parametrize("bad", [-1, 40])
def test_an_index_beyond_the_positions_raises(bad):
    with pytest.raises((IndexError, RuntimeError), match="out of range"):
        embedding_layer_norm(**_embedding_arguments(40), indices=torch.tensor([0, bad]))
