"""The kernel of ``pad_input`` against its reference, which must be met bit for bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.cases import randn

_DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def _check(emulated, x, indices, num_tokens=None):
    arguments = (x, indices, None if num_tokens is None else torch.tensor([num_tokens], dtype=torch.int32))
    out = emulated.pad_input(*arguments)
    assert torch.equal(out, torch.ops.bertfast.pad_input(*arguments))
    assert out.dtype == x.dtype


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("hidden_size", [1, 2, 7, 8, 72, 384, 768, 1001, 2056])
@pytest.mark.parametrize(("num_tokens", "num_positions"), [(0, 0), (0, 5), (1, 1), (5, 5), (4, 33)])
def test_sizes(emulated, num_tokens, num_positions, hidden_size, dtype):
    indices = torch.randperm(num_positions)
    _check(emulated, randn(num_tokens, hidden_size, dtype=dtype), indices)
    # A buffer that is larger than the batch, and holds anything behind its rows.
    buffer = torch.full((num_tokens + 40, hidden_size), float("nan"), dtype=dtype)
    buffer[:num_tokens] = randn(num_tokens, hidden_size, dtype=dtype)
    _check(emulated, buffer, indices, num_tokens)


@pytest.mark.parametrize("num_tokens", [-(2**31), -1, 0, 1, 6, 7, 8, 2**31 - 1])
def test_any_number_of_tokens(emulated, num_tokens):
    for num_positions in (3, 7, 12):
        _check(emulated, randn(7, 24, dtype=torch.float32), torch.randperm(num_positions), num_tokens)


@settings(max_examples=60)
@given(st.integers(0, 9), st.integers(0, 20), st.integers(0, 600), st.sampled_from(_DTYPES))
def test_any_size(emulated_library, num_tokens, dropped, hidden_size, dtype):
    torch.manual_seed(hidden_size)
    x = randn(num_tokens, hidden_size, dtype=dtype)
    _check(emulated_library, x, torch.randperm(num_tokens + dropped))


def test_rows_that_begin_anywhere(emulated):
    """What is one element off an aligned address is copied by smaller pieces."""
    x = randn(8 * 24 + 1, dtype=torch.float16)[1:].view(8, 24)
    _check(emulated, x, torch.randperm(11))
