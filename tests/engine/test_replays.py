"""Small batches are replayed: the same bits, whoever called before, in whatever mode and thread."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tolerances import assert_close, assert_same_output

from bertfast import encoder

_SIDES = ["right", "left", "holed"]


@pytest.mark.parametrize("side", _SIDES)
@torch.no_grad()
def test_replays_give_the_bits_of_launches(side, make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu-1x2x32")
    eager = stock_and_fast("BertForSequenceClassification", config, cuda_graphs=False)
    replaying = stock_and_fast("BertForSequenceClassification", config)
    batches = [make_batch(config, lengths, side, seed) for seed, lengths in enumerate([(9, 4, 13), (10, 3, 12)] * 3)]
    for batch in batches:
        assert torch.equal(eager.fast(**batch).logits, replaying.fast(**batch).logits)
    without, having = fake_gpu.pools
    assert without.captured == []
    assert [graph.replays for graph in having.captured] == [5]


@torch.no_grad()
def test_outputs_are_the_callers_own(make_config, fake_gpu, stock_and_fast, make_batch):
    """A later replay writes over the memory of an earlier one, but over nobody's outputs."""
    config = make_config("gelu-1x2x32")
    pair = stock_and_fast("BertModel", config)
    for first in (make_batch(config, (13, 13), seed=1), make_batch(config, (13, 5), seed=1)):
        kept = pair.fast(**first).last_hidden_state
        expected = kept.clone()
        for seed in range(3):
            pair.fast(**make_batch(config, (13, 13), seed=seed)).last_hidden_state.zero_()
        assert torch.equal(kept, expected)


@torch.no_grad()
def test_rows_of_an_earlier_batch_reach_nobody(make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu-1x2x32")
    pair = stock_and_fast("BertModel", config)
    small = make_batch(config, (3, 5))
    expected = pair.fast(**small).last_hidden_state
    poisoned = torch.full((2, 8, config.hidden_size), torch.nan)
    for _ in range(2):
        pair.fast(inputs_embeds=poisoned, attention_mask=torch.ones(2, 8))
    assert torch.equal(pair.fast(**small).last_hidden_state, expected)


@torch.no_grad()
def test_weights_that_moved_drop_the_graphs(make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu-1x2x32")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    for _ in range(3):
        pair.fast(**batch)
    for model in (pair.stock, pair.fast):
        norm = model.encoder.layer[0].output.LayerNorm
        norm.weight = torch.nn.Parameter(norm.weight * 2)
    for _ in range(3):
        pair.check(**batch)
    assert [len(pool.captured) for pool in fake_gpu.pools] == [1, 1]


@torch.no_grad()
def test_weights_changed_in_place_are_in_the_next_replay(make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu-1x2x32")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    for _ in range(3):
        pair.check(**batch)
    for model in (pair.stock, pair.fast):
        model.encoder.layer[0].attention.self.query.weight.data[3, 5] += 4
    pair.check(**batch)


def test_inference_mode_and_gradients_share_graphs(make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu-1x2x32")
    pair, batch = stock_and_fast("BertForSequenceClassification", config), make_batch(config)
    modes = [torch.inference_mode, torch.no_grad, torch.enable_grad]
    for mode in modes * 3 + modes[::-1]:
        with mode():
            output = pair.fast(**batch).logits
            assert output.is_inference() == torch.is_inference_mode_enabled()
            assert_same_output(output, pair.stock(**batch).logits, pair.bound)
    assert len(fake_gpu.pools[0].captured) == 1


@torch.no_grad()
def test_large_batches_are_not_captured(make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu-1x2x32")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config, (64,) * 40)
    for _ in range(3):
        pair.check(**batch)
    assert fake_gpu.pools[0].captured == []


@torch.no_grad()
def test_threads_share_graphs(make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu-1x2x32")
    pair = stock_and_fast("BertForSequenceClassification", config)
    batches = [make_batch(config, (2 + i, 5, 9), seed=i) for i in range(6)]
    expected = [pair.fast(**batch).logits for batch in batches]
    barrier = threading.Barrier(4)

    def work(thread):
        barrier.wait(30)
        with torch.no_grad():
            return [pair.fast(**batches[(thread + i) % 6]).logits for i in range(18)]

    with ThreadPoolExecutor(4) as pool:
        for thread, results in enumerate(pool.map(work, range(4))):
            for i, result in enumerate(results):
                assert torch.equal(result, expected[(thread + i) % 6])


@torch.no_grad()
def test_a_call_in_the_middle_of_a_call(make_config, make_gpu, stock_and_fast, make_batch, monkeypatch):
    """As a signal handler makes one: it may not touch what the interrupted call has put in."""
    make_gpu()
    config = make_config("gelu_new-2x2x64")
    pair = stock_and_fast("BertModel", config)
    outer, inner = make_batch(config, (9, 4), seed=1), make_batch(config, (8, 5), seed=2)
    expected = [pair.fast(**batch).last_hidden_state for batch in (outer, inner)]
    seen = []
    run_layer = encoder.run_layer

    def interrupted(*arguments):
        if not seen:
            seen.append(None)
            seen[0] = pair.fast(**inner).last_hidden_state
        return run_layer(*arguments)

    monkeypatch.setattr(encoder, "run_layer", interrupted)
    assert torch.equal(pair.fast(**outer).last_hidden_state, expected[0])
    assert_close(seen[0], expected[1], pair.bound)
