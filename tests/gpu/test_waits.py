"""The host waits for the GPU once in a forward at most, and not at all where it need not."""

from __future__ import annotations

import pytest
import torch


def _waits(target, model, batch):
    """Of a call when all is recorded and loaded."""
    for _ in range(3):
        model(**batch)
    target.finish()
    with target.count_waits() as waits:
        model(**batch)
    return waits


def test_the_count_counts(target):
    if not target.real:
        pytest.skip("nobody waits for a CPU")
    x = torch.ones(8, device=target.device)
    with target.count_waits() as waits:
        x.sum().item()
        x.tolist()
    assert len(waits) == 2
    with target.count_waits() as waits:
        x + x
    assert waits == []


@pytest.mark.parametrize("side", ["right", "holed"])
@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification", "BertForQuestionAnswering"])
@torch.no_grad()
def test_once_for_a_large_batch(class_name, side, make_config, make_pair, make_batch, to_target, target):
    config = make_config("gelu_new-2x2x64")
    fast = make_pair(class_name, config, torch.float16, pad_outputs="zero").fast
    waits = _waits(target, fast, to_target(make_batch(config, (64, 60, 3) * 4, side)))
    assert len(waits) <= 1, waits


@pytest.mark.parametrize("masked", [True, False])
@torch.no_grad()
def test_never_for_a_small_batch(masked, make_config, make_pair, make_batch, to_target, target):
    config = make_config("gelu_new-2x2x64")
    fast = make_pair("BertForSequenceClassification", config, torch.float16).fast
    batch = to_target(make_batch(config, (64, 60, 3)))
    if not masked:
        del batch["attention_mask"]
    assert _waits(target, fast, batch) == []


@torch.no_grad()
def test_never_for_lengths_that_the_host_knows(make_config, make_pair, make_batch, target):
    config = make_config("gelu_new-2x2x64")
    fast = make_pair("BertForSequenceClassification", config, torch.float16).fast
    assert _waits(target, fast, make_batch(config, (64, 60, 3) * 4)) == []


@torch.no_grad()
def test_never_for_a_large_batch_without_mask(make_config, make_pair, make_batch, to_target, target):
    config = make_config("gelu_new-2x2x64")
    fast = make_pair("BertForSequenceClassification", config, torch.float16).fast
    batch = to_target(make_batch(config, (64,) * 12))
    del batch["attention_mask"]
    assert _waits(target, fast, batch) == []
