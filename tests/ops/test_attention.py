"""``varlen_attention`` and ``first_token_attention``, each query by itself in float64 as the oracle."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import TOLERANCES, relative_error

from bertfast.ops import first_token_attention, varlen_attention
from ops.cases import (
    DTYPES,
    counts,
    first_token_attention_oracle,
    offsets,
    randn,
    varlen_attention_oracle,
)

# (rows of each sequence, keys of each or None for all)
_LAYOUTS = {
    "one token": ([1], None),
    "one sequence": ([7], None),
    "equal lengths": ([5, 5, 5], None),
    "ragged": ([1, 7, 2, 2, 33], None),
    "queries that are no keys": ([4, 4, 9, 1], [2, 4, 5, 1]),
    "runs of equal rows, unequal keys": ([6, 6, 6, 6], [3, 3, 6, 1]),
    "a sequence without keys": ([3, 4, 3], [3, 0, 2]),
    "no keys at all": ([3, 2], [0, 0]),
    "empty sequences": ([0, 3, 0, 0, 2, 0], None),
    "empty sequences with keys given": ([0, 3, 0, 2], [0, 1, 0, 2]),
    "only empty sequences": ([0, 0], None),
    "no sequences": ([], None),
    "long": ([64, 257], [64, 130]),
}


def _scale(head_size):
    return head_size**-0.5


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", _LAYOUTS)
def test_varlen_layouts(layout, dtype):
    lengths, keys = _LAYOUTS[layout]
    qkv = randn(sum(lengths), 3, 2, 12, dtype=dtype)
    out = varlen_attention(qkv, offsets(lengths), counts(keys), max(lengths, default=0), 0.4)
    assert out.dtype == dtype
    assert out.is_contiguous()
    wanted = varlen_attention_oracle(qkv, lengths, keys, 0.4)
    assert relative_error(out, wanted) <= TOLERANCES[dtype].op
    assert (out[wanted == 0] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", _LAYOUTS)
def test_first_token_layouts(layout, dtype):
    lengths, keys = _LAYOUTS[layout]
    query = randn(len(lengths), 2, 12, dtype=dtype)
    key_value = randn(sum(lengths), 2, 2, 12, dtype=dtype)
    out = first_token_attention(query, key_value, offsets(lengths), counts(keys), 0.4)
    assert out.dtype == dtype
    assert out.is_contiguous()
    wanted = first_token_attention_oracle(query, key_value, lengths, keys, 0.4)
    assert relative_error(out, wanted) <= TOLERANCES[dtype].op
    assert (out[wanted == 0] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("num_heads", "head_size"), [(12, 64), (3, 32), (1, 128), (3, 5), (4, 12), (2, 1)])
def test_head_sizes(num_heads, head_size, dtype):
    lengths, keys, scale = [9, 2, 1], [4, 2, 1], _scale(head_size)
    qkv = randn(12, 3, num_heads, head_size, dtype=dtype)
    out = varlen_attention(qkv, offsets(lengths), counts(keys), 9, scale)
    wanted = varlen_attention_oracle(qkv, lengths, keys, scale)
    assert relative_error(out, wanted) <= TOLERANCES[dtype].op
    # The same queries one by one: the first row of each sequence.
    first = first_token_attention(qkv[[0, 9, 11], 0], qkv[:, 1:].contiguous(), offsets(lengths), counts(keys), scale)
    assert relative_error(first, wanted[[0, 9, 11]]) <= TOLERANCES[dtype].op


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_large_scores(dtype):
    """Scores of several hundred: exp of them overflows unless the largest is taken off first."""
    lengths = [6, 3]
    qkv = 20 * randn(9, 3, 2, 12, dtype=dtype)
    out = varlen_attention(qkv, offsets(lengths), None, 6, 1.0)
    wanted = varlen_attention_oracle(qkv, lengths, None, 1.0)
    assert out.isfinite().all()
    assert relative_error(out, wanted) <= 100 * TOLERANCES[dtype].op


def test_rows_beyond_the_keys_are_never_read():
    """NaN in rows that are no keys must reach no other row."""
    lengths, keys = [5, 4], [3, 1]
    qkv = randn(9, 3, 2, 12)
    clean = varlen_attention(qkv, offsets(lengths), counts(keys), 5, 0.4)
    dirty = qkv.clone()
    dirty[[3, 4, 6, 7, 8], 1:] = float("nan")
    assert torch.equal(varlen_attention(dirty, offsets(lengths), counts(keys), 5, 0.4), clean)
    first = first_token_attention(qkv[[0, 5], 0], dirty[:, 1:].contiguous(), offsets(lengths), counts(keys), 0.4)
    assert relative_error(first, clean[[0, 5]]) <= TOLERANCES[torch.float64].op


def test_rows_after_the_last_sequence_belong_to_none():
    lengths = [5, 0, 4]
    qkv = randn(14, 3, 2, 12)
    qkv[9:] = float("nan")
    out = varlen_attention(qkv, offsets(lengths), None, 5, 0.4)
    assert out.shape == (14, 2, 12)
    assert torch.equal(out[:9], varlen_attention(qkv[:9], offsets(lengths), None, 5, 0.4))
    query = randn(3, 2, 12)
    first = first_token_attention(query, qkv[:, 1:].contiguous(), offsets(lengths), None, 0.4)
    assert torch.equal(first, first_token_attention(query, qkv[:9, 1:].contiguous(), offsets(lengths), None, 0.4))


@settings(max_examples=80)
@given(st.lists(st.integers(0, 6).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=6))
def test_any_layout(layout):
    lengths, keys = [n for n, _ in layout], [k for _, k in layout]
    torch.manual_seed(sum(lengths))
    qkv = randn(sum(lengths), 3, 2, 3)
    query = randn(len(lengths), 2, 3)
    for given_keys in (keys, None):
        out = varlen_attention(qkv, offsets(lengths), counts(given_keys), 6, 0.7)
        wanted = varlen_attention_oracle(qkv, lengths, given_keys, 0.7)
        assert relative_error(out, wanted) <= TOLERANCES[torch.float64].op
        out = first_token_attention(query, qkv[:, 1:].contiguous(), offsets(lengths), counts(given_keys), 0.7)
        wanted = first_token_attention_oracle(query, qkv[:, 1:], lengths, given_keys, 0.7)
        assert relative_error(out, wanted) <= TOLERANCES[torch.float64].op
