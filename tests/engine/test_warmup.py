"""After a warm-up no call has to wait for what it did."""

from __future__ import annotations

import pytest
import torch

import bertfast
from bertfast import engines


@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification"])
@torch.no_grad()
def test_after_a_warm_up_nothing_is_captured(class_name, make_config, make_gpu, stock_and_fast, make_batch):
    gpu = make_gpu(rows=32)
    config = make_config("gelu-1x2x32")
    pair = stock_and_fast(class_name, config, pad_outputs="zero")
    made = bertfast.warmup(pair.fast, batch_size=4, max_length=30)
    assert made == len(gpu.pools[0].captured) > 3
    for lengths in ((30,), (3,), (30, 30, 30, 30), (1, 1), (9, 4, 17)):
        pair.fast(**make_batch(config, lengths))
        pair.fast(**make_batch(config, lengths))
    assert len(gpu.pools[0].captured) == made
    assert bertfast.warmup(pair.fast, batch_size=4, max_length=30) == 0


@torch.no_grad()
def test_a_warm_up_finds_the_head_inside_a_module(make_config, make_gpu, stock_and_fast, make_batch):
    gpu = make_gpu()
    config = make_config("gelu-1x2x32")
    head = stock_and_fast("BertForSequenceClassification", config).fast
    made = bertfast.warmup(torch.nn.ModuleList([head]), batch_size=2, max_length=9)
    for _ in range(3):
        head(**make_batch(config, (9, 4)))
    assert len(gpu.pools[0].captured) == made > 0


def test_a_warm_up_beyond_the_limit_says_so(make_config, make_gpu, stock_and_fast, caplog):
    make_gpu()
    fast = stock_and_fast("BertModel", make_config("gelu-1x2x32", max_position_embeddings=512)).fast
    assert bertfast.warmup(fast, batch_size=128, max_length=512) == 128
    assert "128 CUDA graphs are kept, no more" in caplog.text
    assert bertfast.explain(fast).cuda_graphs == 128
    caplog.clear()
    # What is kept is not captured again, and not complained of.
    assert bertfast.warmup(fast, batch_size=4, max_length=128) == 0
    assert not caplog.messages


def test_a_warm_up_of_what_runs_stock_is_refused(make_config, stock_and_fast):
    fast = stock_and_fast("BertModel", make_config("gelu-1x2x32")).fast.train()
    with pytest.raises(bertfast.FallbackError, match=r"warmup: BertModel runs stock transformers \(training mode"):
        bertfast.warmup(fast, max_length=8)


def test_a_warm_up_on_a_cpu_prepares_the_weights(make_config, stock_and_fast):
    fast = stock_and_fast("BertModel", make_config("gelu-1x2x32")).fast
    assert bertfast.warmup(fast, batch_size=2, max_length=8) == 0
    assert engines.of(fast).preparation.weights is not None


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 8), "batch_size: expected a whole number of at least 1, got 0"),
        ((1.5, 8), "batch_size: .* got 1.5"),
        ((1, 65), "max_length: expected a whole number of 1 to 64, got 65"),
        ((1, "8"), "max_length: .* got '8'"),
    ],
)
def test_a_warm_up_refuses_sizes(sizes, message, make_config, stock_and_fast):
    with pytest.raises(ValueError, match=message):
        bertfast.warmup(stock_and_fast("BertModel", make_config("gelu-1x2x32")).fast, *sizes)
