"""Calls as others make them; what stats and explain say of a call."""

from __future__ import annotations

import inspect

import pytest
import torch
import transformers
from parity.heads import CLASSES, call_inputs
from tolerances import assert_same_output

import bertfast
from dropin.helpers import counted, needs_v5, output_of


@needs_v5
def test_the_trainers_argument_is_accepted(make_pair, batch):
    pair = make_pair("BertForTokenClassification")
    labels = batch["input_ids"] % 2
    pair.check(**batch, labels=labels, num_items_in_batch=torch.tensor(7))


@pytest.mark.parametrize("way", ["class", "accelerate", "install"])
@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification", "BertForMaskedLM"])
def test_hidden_states_however_it_was_accelerated(request, make_pair, batch, class_name, way):
    pair = make_pair(class_name)
    expected = output_of(pair.stock, {**batch, "output_hidden_states": True})
    model = pair.fast if way == "class" else pair.stock
    if way == "accelerate":
        bertfast.accelerate(model)
    if way == "install":
        request.getfixturevalue("installed")
    for wanted in (True, False, True):
        with counted() as calls:
            actual = output_of(model, {**batch, "output_hidden_states": wanted})
        assert calls == {"fast": 1}
        assert ("hidden_states" in actual) == wanted
    assert_same_output(actual, expected, pair.bound)

    model.train()
    assert len(output_of(model, {**batch, "output_hidden_states": True}).hidden_states) == 3
    model.eval()


def test_positional_arguments(pair, batch):
    names = list(inspect.signature(transformers.BertModel.forward).parameters)[1:4]
    assert names == ["input_ids", "attention_mask", "token_type_ids"]
    with torch.no_grad(), counted() as calls:
        actual = pair.fast(*(batch[name] for name in names))
    assert calls == {"fast": 1}
    assert_same_output(actual, output_of(pair.stock, batch), pair.bound)


def test_stats_count_calls(pair, batch):
    for _ in range(3):
        output_of(pair.fast, batch)
    pair.fast.train()
    output_of(pair.fast, batch)
    assert bertfast.stats() == {"fast": 3, "stock": 1, "stock: training mode": 1}
    assert bertfast.STATS["fast"] == 3
    bertfast.stats()["fast"] = 9
    assert bertfast.stats()["fast"] == 3
    report = bertfast.explain(pair.fast)
    assert (report.fast_calls, report.stock_calls) == (3, 1)


_TOKENS = ("path", "reason", "real_tokens", "computed_tokens", "padded_tokens", "first_token_only")


@pytest.mark.parametrize("way", ["class", "install"])
@pytest.mark.parametrize("class_name", CLASSES)
def test_explain_foretells_what_the_call_then_does(request, make_pair, batch, class_name, way):
    pair = make_pair(class_name)
    model = pair.fast if way == "class" else pair.stock
    if way == "install":
        request.getfixturevalue("installed")
    inputs = call_inputs(class_name, batch, labels=True)
    with counted() as calls:
        told = bertfast.explain(model, **inputs)
    assert not calls
    assert told.path == "fast"
    assert bertfast.explain(model).path == "not called yet"
    output_of(model, inputs)
    done = bertfast.explain(model)
    assert {name: getattr(told, name) for name in _TOKENS} == {name: getattr(done, name) for name in _TOKENS}


def test_explain_foretells_a_fallback(pair, batch):
    with counted() as calls:
        report = bertfast.explain(pair.fast, **batch, output_attentions=True)
    assert not calls
    assert (report.path, report.reason) == ("stock", "output_attentions")
    pair.fast.train()
    assert bertfast.explain(pair.fast, **batch).reason == "training mode"


def test_explain_counts_tokens(make_pair, batch):
    pair = make_pair("BertForSequenceClassification")
    output_of(pair.fast, batch)
    report = bertfast.explain(pair.fast)
    real = int(batch["attention_mask"].sum())
    assert (report.real_tokens, report.computed_tokens, report.padded_tokens) == (real, real, 65)
    assert report.first_token_only
    assert report.encoder == "BertModel"
    assert report.dtype == "torch.float32"
    assert report.as_dict()["path"] == "fast"
    assert f"{real} real, {real} computed of 65 padded" in str(report)


def test_explain_of_bad_input_raises_what_the_call_raises(pair, batch):
    with pytest.raises(bertfast.InputRangeError, match="input_ids"):
        bertfast.explain(pair.fast, input_ids=torch.tensor([[1000]]))
    with pytest.raises(TypeError):
        bertfast.explain(pair.fast, batch["input_ids"], input_ids=batch["input_ids"])


def test_explain_of_a_stock_model_says_what_to_do(pair):
    with pytest.raises(bertfast.UnsupportedModelError, match=r"bertfast\.accelerate"):
        bertfast.explain(pair.stock)


def test_explain_of_a_call_that_needs_no_encoder_says_so(pair):
    class Shortcut(torch.nn.Module):
        def __init__(self, bert):
            super().__init__()
            self.bert = bert

        def forward(self, x):
            return x

    with pytest.raises(bertfast.UnsupportedModelError, match="did not call its encoder"):
        bertfast.explain(Shortcut(pair.fast), torch.ones(1))
