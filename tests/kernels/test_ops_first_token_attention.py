"""The kernel of ``first_token_attention`` against float64 and against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.cases import counts, first_token_attention_oracle, offsets, randn
from tolerances import KERNEL_RATIO, TOLERANCES, assert_no_further_from_truth, relative_error

_DTYPES = [torch.float32, torch.float16, torch.bfloat16]
_LAYOUTS = {
    "one token": ([1], None),
    "ragged": ([9, 1, 130, 33], None),
    "rows that are no keys": ([4, 40, 90, 1], [2, 17, 64, 1]),
    "a sequence without keys": ([30, 40, 3], [30, 0, 2]),
    "empty sequences": ([0, 30, 0, 0, 20, 0], None),
    "only empty sequences": ([0, 0], None),
    "no sequences": ([], None),
}


def _check(emulated, lengths, keys, num_heads, head_size, dtype):
    query = randn(len(lengths), num_heads, head_size, dtype=dtype)
    key_value = (
        randn(sum(lengths) + 2, 2, num_heads, head_size, dtype=dtype)
        if lengths
        else query.new_empty((0, 2, num_heads, head_size))
    )
    arguments = (query, key_value, offsets(lengths), counts(keys), head_size**-0.5)
    out = emulated.first_token_attention(*arguments)
    assert out.dtype == dtype
    truth = first_token_attention_oracle(query, key_value, lengths, keys, head_size**-0.5)
    assert relative_error(out, truth) <= TOLERANCES[dtype].op
    assert (out[truth == 0] == 0).all()
    reference = torch.ops.bertfast.first_token_attention(*arguments)
    assert_no_further_from_truth(out, reference, truth, KERNEL_RATIO)


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("layout", _LAYOUTS)
def test_layouts(emulated, layout, dtype):
    _check(emulated, *_LAYOUTS[layout], 2, 64, dtype)


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("head_size", [1, 5, 16, 31, 32, 48, 64, 96, 128, 200, 256])
def test_head_sizes(emulated, head_size, dtype):
    _check(emulated, [70, 1, 9], None, 3, head_size, dtype)


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 80).flatmap(lambda rows: st.tuples(st.just(rows), st.integers(0, rows))), max_size=5),
    st.sampled_from(_DTYPES),
    st.sampled_from([3, 32, 64]),
)
def test_ragged_batches(emulated_library, layout, dtype, head_size):
    lengths, keys = [rows for rows, _ in layout], [keys for _, keys in layout]
    torch.manual_seed(sum(lengths))
    _check(emulated_library, lengths, keys, 2, head_size, dtype)


@pytest.mark.parametrize("value", [1.0, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("length", [20, 150])
def test_no_weight_hides_no_value(emulated, length, dtype, value):
    """As in `varlen_attention`: where every score is -infinity the result is 0, but NaN where a value is not finite."""
    key_value = randn(length, 2, 1, 64, dtype=dtype)
    key_value[:, 0] = -math.inf
    key_value[length // 2, 1, 0, 3] = value
    out = emulated.first_token_attention(torch.ones(1, 1, 64, dtype=dtype), key_value, offsets([length]), None, 0.125)
    assert out[0, 0, 3].isnan() if value != 1 else out[0, 0, 3] == 0
    assert (out[0, 0, 4:] == 0).all()


def test_what_no_kernel_does_is_refused(emulated):
    query, key_value = torch.zeros(1, 1, 257), torch.zeros(3, 2, 1, 257)
    with pytest.raises(ValueError, match=r"^query: expected at most 256 along axis 2, got 257$"):
        emulated.first_token_attention(query, key_value, offsets([3]), None, 0.1)
