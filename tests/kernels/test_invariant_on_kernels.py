"""``invariant=True`` the whole way of a GPU, with the kernels emulated: a text's result is the same bits in any batch.

The matrices are multiplied by torch on the CPU, in blocks of one size; everything else is computed by csrc/kernels.
"""

from __future__ import annotations

import pytest
import torch
from fuzzing import fuzzer
from hypothesis import given
from hypothesis import strategies as st
from reliability.texts import batch_of, make_texts

_BATCHES = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), min_size=2, max_size=4)


@torch.no_grad()
def _check(model, sizes, extra, seed, most_left):
    texts, pad = make_texts(model.config, [length for length, _ in sizes], seed), model.config.pad_token_id
    left = [min(before, most_left) for _, before in sizes]
    together = model(**batch_of(texts, pad, left, extra))[0]
    for row, (text, before) in enumerate(zip(texts, left, strict=True)):
        alone = model(**batch_of([text], pad, [0]))[0]
        found = together[row : row + 1]
        if alone.dim() == 3:
            found = found[:, before : before + len(text)]
        assert torch.equal(found, alone), row


@pytest.mark.fuzz
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification"])
def test_any_batch(class_name, dtype, make_config, stock_and_fast, calls, fake_gpu):
    """In float16 and bfloat16 the heads of 32 take the kernels for tensor cores."""
    model = stock_and_fast(class_name, make_config("gelu-1x2x32"), dtype, invariant=True, cuda_graphs=False).fast
    # Poolers read column 0.
    most_left = 5 if class_name == "BertModel" else 0

    @fuzzer(4)
    @given(_BATCHES, st.integers(0, 9), st.integers(0, 2**16))
    def check(sizes, extra, seed):
        _check(model, sizes, extra, seed, most_left)

    check()
    assert calls.counts["varlen_attention" if class_name == "BertModel" else "first_token_attention"] > 0
    assert calls.counts["bias_gelu"] > 0
