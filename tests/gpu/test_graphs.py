"""Captured graphs: the bits of their launches, whatever was replayed before."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from tolerances import TOLERANCES, assert_close

import bertfast
from bertfast import engines
from gpu.conftest import encoder_of


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification"])
@torch.no_grad()
def test_replays_give_the_bits_of_launches(class_name, dtype, make_config, make_pair, make_batch, to_target):
    config = make_config("gelu_new-2x2x64")
    fast = make_pair(class_name, config, dtype).fast
    eager = bertfast.accelerate(copy.deepcopy(fast), cuda_graphs=False)
    generator = random.Random(0)
    for seed in range(40):
        lengths = [generator.randint(1, 64) for _ in range(generator.randint(1, 8))]
        batch = to_target(make_batch(config, lengths, generator.choice(["right", "holed"]), seed))
        assert torch.equal(fast(**batch)[0], eager(**batch)[0]), lengths
    graphs = engines.of(encoder_of(fast)).preparation.graphs
    assert graphs is not None
    assert graphs.num_captured > 3
    assert len(graphs) == bertfast.explain(fast).cuda_graphs <= graphs.limits.max_graphs


@torch.no_grad()
def test_outputs_are_the_callers_own(make_config, make_pair, make_batch, to_target):
    config = make_config("gelu-1x2x32")
    fast = make_pair("BertModel", config, torch.float32).fast
    kept = fast(**to_target(make_batch(config, (13, 13), seed=1))).last_hidden_state
    expected = kept.clone()
    for seed in range(4):
        fast(**to_target(make_batch(config, (13, 13), seed=seed))).last_hidden_state.zero_()
    assert torch.equal(kept, expected)


@torch.no_grad()
def test_after_a_warm_up_nothing_is_captured(make_config, make_pair, make_batch, to_target):
    config = make_config("gelu-1x2x32")
    fast = make_pair("BertForSequenceClassification", config, torch.float16).fast
    made = bertfast.warmup(fast, batch_size=4, max_length=30)
    graphs = engines.of(encoder_of(fast)).preparation.graphs
    assert graphs is not None
    assert made == graphs.num_captured > 3
    for lengths in ((30,), (3,), (30, 30, 30, 30), (1, 1), (9, 4, 17)):
        for _ in range(2):
            fast(**to_target(make_batch(config, lengths)))
    assert graphs.num_captured == made


@torch.no_grad()
def test_weights_changed_in_place_are_in_the_next_replay(make_config, make_pair, make_batch, to_target):
    config = make_config("gelu-1x2x32")
    pair = make_pair("BertModel", config, torch.float32)
    batch = to_target(make_batch(config))
    for _ in range(3):
        pair.check(**batch)
    for model in (pair.stock, pair.fast):
        model.encoder.layer[0].attention.self.query.weight.data[3, 5] += 4
    pair.check(**batch)


@torch.no_grad()
def test_the_callers_own_graph(target, make_config, make_pair, make_batch, to_target):
    """Nothing waits for the device inside of a graph that the caller captures."""
    if not target.real:
        pytest.skip("only CUDA has graphs of callers")
    config = make_config("gelu_new-2x2x64")
    fast = make_pair("BertForSequenceClassification", config, torch.float16).fast
    batch = to_target(make_batch(config, (60, 64, 10)))
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        expected = fast(**batch).logits.clone()
    target.finish()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        logits = fast(**batch).logits
    for _ in range(2):
        graph.replay()
        target.finish()
        assert_close(logits, expected, TOLERANCES[torch.float16].model)
