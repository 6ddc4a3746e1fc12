"""Gradient checkpointing leaves a hook on the embeddings, which only a backward pass can see."""

from __future__ import annotations

import pytest
import torch
from tolerances import assert_same_output

from dropin.helpers import assert_falls_back, counted


@pytest.fixture
def marked_pair(make_pair):
    """A pair whose embeddings have transformers' hook."""
    pair = make_pair("BertForSequenceClassification")
    for model in (pair.stock, pair.fast):
        model.enable_input_require_grads()
    return pair


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_hook_changes_nothing(marked_pair, batch, mode):
    with mode():
        marked_pair.check(**batch, output_hidden_states=True)


@pytest.mark.parametrize("frozen", [False, True])
def test_with_gradients_stock_runs(marked_pair, batch, caplog, frozen):
    """Of a frozen encoder, the hook makes the outputs require gradients."""
    for model in (marked_pair.stock, marked_pair.fast):
        model.bert.requires_grad_(not frozen)
    assert_falls_back(marked_pair, lambda model: model(**batch), "a hook on the embeddings", caplog)


def test_evaluation_after_training_is_fast(make_pair, batch):
    pair = make_pair("BertForSequenceClassification")
    for model in (pair.stock, pair.fast):
        model.gradient_checkpointing_enable()
        model.train()(**batch, labels=torch.arange(5) % 2).loss.backward()
        model.eval()
    pair.check(**batch)


def test_a_hook_that_only_has_its_name_runs_stock(make_pair, batch):
    pair = make_pair("BertForSequenceClassification")

    def make_inputs_require_grads(module, args, output):
        return 2 * output

    for model in (pair.stock, pair.fast):
        model.get_input_embeddings().register_forward_hook(make_inputs_require_grads)
    with torch.no_grad(), counted() as calls:
        assert_same_output(pair.fast(**batch), pair.stock(**batch), pair.bound)
    assert calls["stock"] == 1
