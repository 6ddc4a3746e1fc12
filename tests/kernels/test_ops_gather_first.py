"""The kernel of ``gather_first`` against its reference, which must be met bit for bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.cases import randn

_DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def _check(emulated, x, first_rows):
    out = emulated.gather_first(x, first_rows)
    assert torch.equal(out, torch.ops.bertfast.gather_first(x, first_rows))
    assert out.dtype == x.dtype


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("hidden_size", [1, 2, 7, 8, 72, 384, 768, 1001, 2056])
@pytest.mark.parametrize(("num_tokens", "batch_size"), [(0, 0), (5, 0), (1, 1), (9, 4), (100, 33)])
def test_sizes(emulated, num_tokens, batch_size, hidden_size, dtype):
    _check(emulated, randn(num_tokens, hidden_size, dtype=dtype), torch.randperm(num_tokens)[:batch_size])


@settings(max_examples=60)
@given(st.integers(1, 20), st.integers(0, 9), st.integers(0, 600), st.sampled_from(_DTYPES))
def test_any_rows(emulated_library, num_tokens, batch_size, hidden_size, dtype):
    torch.manual_seed(hidden_size)
    rows = torch.randint(0, num_tokens, (batch_size,))
    _check(emulated_library, randn(num_tokens, hidden_size, dtype=dtype), rows)


def test_rows_that_begin_anywhere(emulated):
    """What is one element off an aligned address is copied by smaller pieces."""
    x = randn(8 * 24 + 1, dtype=torch.bfloat16)[1:].view(8, 24)
    _check(emulated, x, torch.tensor([7, 0, 3]))
