"""Hooks on the encoder as a whole, and what lets it stay fast."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from tolerances import assert_same_output
from torch import Tensor, nn

import bertfast
from dropin.helpers import (
    assert_differ,
    assert_falls_back,
    attention,
    plain_call,
)


def _watch(module: nn.Module, seen: list[Any]) -> None:
    module.register_forward_hook(lambda module, args, output: seen.append(output))


@pytest.mark.parametrize("class_name", ["BertForSequenceClassification", "BertForNextSentencePrediction"])
def test_a_hook_on_the_encoder_sees_all_hidden_states(make_pair, batch, class_name):
    pair = make_pair(class_name)
    pair.check(**batch)
    seen: dict[str, list[Any]] = {"stock": [], "fast": []}
    _watch(pair.stock.bert, seen["stock"])
    _watch(pair.fast.bert, seen["fast"])
    pair.check(**batch)
    assert seen["stock"][0].last_hidden_state.shape == (5, 13, 48)
    assert_same_output(seen["fast"][0], seen["stock"][0], pair.bound)


def test_a_hook_on_the_encoder_that_changes_its_output(make_pair, batch):
    pair = make_pair("BertForSequenceClassification")
    before = pair.check(**batch)

    def mean_of_all(module, args, output):
        output.pooler_output = output.last_hidden_state.mean(1)
        return output

    for model in (pair.stock, pair.fast):
        model.bert.register_forward_hook(mean_of_all)
    assert_differ(pair.check(**batch), before)


@pytest.mark.parametrize("class_name", ["BertForSequenceClassification", "BertForNextSentencePrediction"])
def test_the_encoder_of_a_head_called_by_itself_gives_all_hidden_states(make_pair, batch, class_name):
    pair = make_pair(class_name)
    encoders = type(pair)(pair.stock.bert, pair.fast.bert)
    encoders.check(**batch)
    pair.check(**batch)
    encoders.check(**batch)
    with pytest.raises(bertfast.InputRangeError):
        pair.fast(input_ids=batch["input_ids"] + 1000)
    encoders.check(**batch)


def test_a_hook_on_the_pooler_sees_all_hidden_states(make_pair, batch):
    pair = make_pair("BertForSequenceClassification")
    seen: list[Tensor] = []
    for model in (pair.stock, pair.fast):
        model.bert.pooler.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        plain_call(batch)(model)
    assert_same_output(seen[1], seen[0], pair.bound)


class MeanPooler(nn.Module):
    """What sentence embedders put in the place of BERT's own pooler."""

    def forward(self, hidden_states):
        return hidden_states.mean(1)


def test_another_pooler_gets_all_hidden_states(make_pair, batch):
    pair = make_pair("BertForSequenceClassification")
    before = pair.check(**batch)
    for model in (pair.stock, pair.fast):
        model.bert.pooler = MeanPooler().eval()
    expected, actual = plain_call(batch)(pair.stock), plain_call(batch)(pair.fast)
    assert_differ(expected, before)
    assert_same_output(actual, expected, pair.bound)


def test_gradient_checkpointing_in_eval_mode(pair, batch):
    """It changes nothing then, but transformers may have put hooks on the embeddings."""
    before = pair.check(**batch)
    for model in (pair.stock, pair.fast):
        model.gradient_checkpointing_enable()
    assert_same_output(plain_call(batch)(pair.fast), before, pair.bound)
    for model in (pair.stock, pair.fast):
        model.gradient_checkpointing_disable()
    assert_same_output(plain_call(batch)(pair.fast), before, pair.bound)


def test_gradient_checkpointing_in_training_mode(pair, batch, caplog):
    for model in (pair.stock, pair.fast):
        model.gradient_checkpointing_enable()
        model.train()

    def call(model):
        model.zero_grad()
        model(**batch).last_hidden_state.square().sum().backward()
        return attention(model).query.weight.grad.clone()

    assert_falls_back(pair, call, "training mode", caplog)


class _Unmasked:
    """A user's encoder that attends to padding too: it overrides a step of stock's forward."""

    def _create_attention_masks(self, attention_mask, *args, **kwargs):
        return super()._create_attention_masks(None, *args, **kwargs)

    def get_extended_attention_mask(self, attention_mask, *args, **kwargs):
        return super().get_extended_attention_mask(torch.ones_like(attention_mask), *args, **kwargs)


@pytest.mark.parametrize("way", ["a subclass of bertfast's", "install"])
def test_a_subclass_that_overrides_a_step_is_obeyed(make_pair, batch, way):
    # Eager, because 4.57 asks get_extended_attention_mask only then.
    pair = make_pair(attn_implementation="eager")
    before = pair.check(**batch)
    pair.stock.__class__ = type("BertModel", (_Unmasked, transformers.BertModel), {})
    expected = plain_call(batch)(pair.stock)
    assert_differ(expected, before)
    if way == "install":
        bertfast.install()
        try:
            actual = plain_call(batch)(pair.stock)
        finally:
            bertfast.uninstall()
    else:
        pair.fast.__class__ = type("BertModel", (_Unmasked, bertfast.BertModel), {})
        actual = plain_call(batch)(pair.fast)
    assert_same_output(actual, expected, pair.bound)
