"""Hooks on the encoder as a whole, and what lets it stay fast."""

from __future__ import annotations

import contextlib
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
    counted,
    needs_v4,
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


def _note_gradients(seen: list[Tensor]) -> Any:
    return lambda module, *gradients: seen.extend(g for group in gradients for g in group if g is not None)


WATCHERS: dict[str, Any] = {
    "forward hook": lambda m, seen: m.register_forward_hook(lambda m, args, output: seen.append(args[0])),
    "forward pre-hook": lambda m, seen: m.register_forward_pre_hook(lambda m, args: seen.append(args[0])),
    "full backward hook": lambda m, seen: m.register_full_backward_hook(_note_gradients(seen)),
    "full backward pre-hook": lambda m, seen: m.register_full_backward_pre_hook(_note_gradients(seen)),
}


@pytest.mark.parametrize("watch", WATCHERS.values(), ids=WATCHERS)
@pytest.mark.parametrize("where", ["pooler", "pooler.dense", "pooler.activation"])
@pytest.mark.parametrize("way", ["accelerated", "install"])
def test_a_hook_in_the_pooler_sees_all_hidden_states(make_pair, batch, way, where, watch):
    pair = make_pair("BertForSequenceClassification")
    seen: list[list[Tensor]] = []
    for model in (pair.stock, pair.stock if way == "install" else pair.fast):
        seen.append([])
        handle = watch(model.bert.get_submodule(where), seen[-1])
        with bertfast.installed() if len(seen) == 2 else contextlib.nullcontext(), counted() as calls:
            model(**batch).logits.square().sum().backward()
        assert calls == ({"fast": 1} if len(seen) == 2 else {})
        handle.remove()
    assert len(seen[0]) > 0
    assert [tuple(t.shape) for t in seen[1]] == [tuple(t.shape) for t in seen[0]]
    for found, expected in zip(seen[1], seen[0], strict=True):
        assert_same_output(found.detach(), expected.detach(), pair.bound)


@needs_v4
@pytest.mark.parametrize("kind", ["full backward hook", "full backward pre-hook"])
def test_a_backward_hook_on_the_encoder_sees_gradients_of_all_hidden_states(make_pair, batch, kind):
    pair = make_pair("BertForSequenceClassification")
    shapes = []
    for model in (pair.stock, pair.fast):
        seen: list[Tensor] = []
        WATCHERS[kind](model.bert, seen)
        # torch watches tuples only, and 5.x's heads never ask their encoder for one.
        model(**batch, return_dict=False)[0].square().sum().backward()
        shapes.append([tuple(gradient.shape) for gradient in seen])
    assert shapes[1] == shapes[0] != []


def test_a_pooler_that_is_called_in_another_way_sees_all_hidden_states(make_pair, batch):
    pair = make_pair("BertForSequenceClassification")
    seen: list[Tensor] = []
    for model in (pair.stock, pair.fast):
        own = model.bert.pooler._call_impl
        model.bert.pooler._call_impl = lambda x, own=own: (seen.append(x), own(x))[1]
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
