"""accelerate and restore, install and uninstall do what they say."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import transformers
from parity.heads import CLASSES, POOLED, call_inputs
from tolerances import assert_same_output
from torch import nn
from transformers.models.bert import modeling_bert

import bertfast
from dropin.helpers import counted, encoder_of, output_of


class Retriever(nn.Module):
    """A user's own module around two encoders."""

    def __init__(self, make_encoder: Any) -> None:
        super().__init__()
        self.query = make_encoder()
        self.passages = nn.ModuleDict({"encoder": make_encoder()})

    def forward(self, **inputs):
        query = self.query(**inputs).last_hidden_state[:, 0]
        passages = self.passages["encoder"](**inputs).pooler_output
        return query @ passages.t()


@pytest.mark.parametrize("class_name", CLASSES)
def test_accelerate_and_restore_work_in_place(make_pair, batch, class_name):
    inputs = call_inputs(class_name, batch)
    pair = make_pair(class_name)
    model = pair.stock
    types = [type(module) for module in model.modules()]
    attributes = set(model.__dict__) | set(encoder_of(model).__dict__)
    expected = output_of(model, inputs)

    assert bertfast.accelerate(model) is model
    assert type(model) is getattr(bertfast, class_name)
    with counted() as calls:
        assert_same_output(output_of(model, inputs), expected, pair.bound)
    assert calls == {"fast": 1}

    assert bertfast.restore(model) is model
    assert [type(module) for module in model.modules()] == types
    assert set(model.__dict__) | set(encoder_of(model).__dict__) == attributes
    with counted() as calls:
        assert_same_output(output_of(model, inputs), expected, pair.bound)
    assert not calls


def test_restore_makes_stock_of_bertfasts_own_classes(make_pair, batch):
    pair = make_pair("BertForSequenceClassification")
    bertfast.restore(pair.fast)
    assert type(pair.fast) is transformers.BertForSequenceClassification
    assert type(pair.fast.bert) is transformers.BertModel
    with counted() as calls:
        assert_same_output(output_of(pair.fast, batch), output_of(pair.stock, batch), pair.bound)
    assert not calls


def test_a_users_own_module(make_config, batch):
    model = Retriever(lambda: transformers.BertModel(make_config())).eval()
    expected = output_of(model, batch)
    assert bertfast.accelerate(model) is model
    assert type(model) is Retriever
    with counted() as calls:
        torch.testing.assert_close(output_of(model, batch), expected, rtol=1e-5, atol=1e-4)
    assert calls == {"fast": 2}
    bertfast.restore(model)
    assert {type(m) for m in model.modules()} & {bertfast.BertModel} == set()


def test_accelerate_again_changes_the_options(pair, batch):
    padding = batch["attention_mask"] == 0
    for pad_outputs, seen in (("zero", False), ("exact", True), ("zero", False), ("auto", True)):
        bertfast.accelerate(pair.fast, pad_outputs=pad_outputs)
        states = output_of(pair.fast, batch).last_hidden_state
        assert bool(states[padding].abs().sum() > 0) == seen
        assert bertfast.explain(pair.fast).pad_outputs == pad_outputs


@pytest.mark.parametrize("option", [{"pad_outputs": "none"}, {"on_fallback": "ignore"}, {"pad_outputs": None}])
def test_options_are_checked_before_anything_changes(make_pair, option):
    model = make_pair().stock
    name, value = next(iter(option.items()))
    with pytest.raises(ValueError, match=f"{name}={value!r}.*expected one of"):
        bertfast.accelerate(model, **option)
    assert type(model) is transformers.BertModel


@pytest.mark.parametrize(
    ("thing", "found"),
    [(nn.Linear(2, 2), "Linear"), (nn.Sequential(), "Sequential"), ("bert-base", "str"), (None, "None")],
)
def test_what_holds_no_encoder_is_refused(thing, found):
    for function in (bertfast.accelerate, bertfast.explain):
        with pytest.raises(bertfast.UnsupportedModelError, match=found):
            function(thing)


def test_another_architecture_is_refused_and_left_alone():
    config = transformers.DistilBertConfig(vocab_size=9, dim=4, n_layers=1, n_heads=1, hidden_dim=4)
    model = transformers.DistilBertModel(config)
    with pytest.raises(bertfast.UnsupportedModelError, match="DistilBertModel"):
        bertfast.accelerate(model)
    assert type(model) is transformers.DistilBertModel


@pytest.mark.parametrize("class_name", CLASSES)
def test_install_reaches_models_that_others_made(make_pair, batch, installed, class_name):
    pair = make_pair(class_name)
    inputs = call_inputs(class_name, batch)
    with counted() as calls:
        actual = output_of(pair.stock, inputs)
    assert calls == {"fast": 1}
    assert bertfast.explain(pair.stock).first_token_only == (class_name in POOLED)
    bertfast.uninstall()
    with counted() as calls:
        assert_same_output(actual, output_of(pair.stock, inputs), pair.bound)
    assert not calls


def test_install_reaches_auto_classes(make_pair, batch, installed, tmp_path):
    make_pair("BertForSequenceClassification").stock.save_pretrained(tmp_path)
    for auto in (transformers.AutoModel, transformers.AutoModelForSequenceClassification):
        with counted() as calls:
            output_of(auto.from_pretrained(tmp_path), batch)
        assert calls == {"fast": 1}


def test_install_and_uninstall_are_idempotent_and_complete():
    classes = [getattr(modeling_bert, name) for name in CLASSES]
    before = [(cls.forward, "forward" in vars(cls)) for cls in classes]
    signatures = [inspect.signature(cls.forward) for cls in classes]
    bertfast.install()
    forwards = [cls.forward for cls in classes]
    bertfast.install()
    assert [cls.forward for cls in classes] == forwards
    assert [inspect.signature(cls.forward) for cls in classes] == signatures
    bertfast.uninstall()
    assert [(cls.forward, "forward" in vars(cls)) for cls in classes] == before
    bertfast.uninstall()
    assert [(cls.forward, "forward" in vars(cls)) for cls in classes] == before


@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification"])
def test_a_fallback_after_install_does_not_recurse(make_pair, batch, installed, class_name):
    pair = make_pair(class_name)
    for model in (pair.stock, pair.fast):
        model.train()
        with counted() as calls:
            model(**batch)
        assert calls["stock"] == 1
        assert calls["fast"] == 0


def test_models_of_bertfast_stay_fast_after_uninstall(pair, batch):
    bertfast.install()
    bertfast.uninstall()
    pair.check(**batch)


def test_restore_under_install_leaves_install_in_charge(pair, batch, installed):
    bertfast.accelerate(pair.stock, pad_outputs="zero")
    bertfast.restore(pair.stock)
    with counted() as calls:
        states = output_of(pair.stock, batch).last_hidden_state
    assert calls == {"fast": 1}
    assert (states[batch["attention_mask"] == 0].abs().sum(1) > 0).all()
