"""Blocks in which a model, or a process, is accelerated; what is there before is there after."""

from __future__ import annotations

import pytest
import transformers
from tolerances import assert_same_output
from torch import nn
from transformers.models.bert import modeling_bert

import bertfast
from dropin.helpers import counted, output_of, state_of


@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification", "BertForMaskedLM"])
def test_a_model_is_accelerated_inside_and_what_it_was_outside(make_pair, batch, class_name):
    pair = make_pair(class_name)
    expected, before = output_of(pair.stock, batch), state_of(pair.stock)
    with bertfast.accelerated(pair.stock) as model, counted() as calls:
        assert model is pair.stock
        assert_same_output(output_of(model, batch), expected, pair.bound)
    assert calls == {"fast": 1}
    assert state_of(pair.stock) == before
    with counted() as calls:
        assert_same_output(output_of(pair.stock, batch), expected, 0)
    assert not calls


def test_an_exception_ends_the_block_too(make_pair):
    pair = make_pair()
    before = state_of(pair.stock)
    with pytest.raises(KeyError, match="mine"), bertfast.accelerated(pair.stock):
        raise KeyError("mine")
    assert state_of(pair.stock) == before


def test_a_model_that_was_accelerated_keeps_its_engine_and_options(pair, batch):
    bertfast.accelerate(pair.fast, pad_outputs="zero")
    output_of(pair.fast, batch)
    before = state_of(pair.fast)
    with bertfast.accelerated(pair.fast):
        assert bertfast.explain(pair.fast).pad_outputs == "zero"
        assert state_of(pair.fast) == before
    assert state_of(pair.fast) == before


def test_options_hold_inside_the_block_only(pair):
    bertfast.accelerate(pair.fast, pad_outputs="zero")
    before = state_of(pair.fast)
    with bertfast.accelerated(pair.fast, pad_outputs="exact", on_fallback="silent"):
        assert bertfast.explain(pair.fast).pad_outputs == "exact"
        with bertfast.accelerated(pair.fast, pad_outputs="auto"):
            assert bertfast.explain(pair.fast).pad_outputs == "auto"
        assert bertfast.explain(pair.fast).pad_outputs == "exact"
    assert state_of(pair.fast) == before


def test_blocks_nest(make_pair, batch):
    model = make_pair().stock
    with bertfast.accelerated(model):
        with bertfast.accelerated(model):
            pass
        with counted() as calls:
            output_of(model, batch)
        assert calls == {"fast": 1}
    assert type(model) is transformers.BertModel


def test_restore_inside_of_a_block_is_obeyed(make_pair, batch):
    model = make_pair().stock
    before = state_of(model)
    with bertfast.accelerated(model):
        bertfast.restore(model)
        with counted() as calls:
            output_of(model, batch)
        assert not calls
    assert state_of(model) == before


def test_what_cannot_be_accelerated_is_refused_and_left_alone(make_pair):
    with pytest.raises(bertfast.UnsupportedModelError), bertfast.accelerated(nn.Linear(2, 2)):
        pass
    model = make_pair().stock
    before = state_of(model)
    with pytest.raises(ValueError, match="pad_outputs='none'"), bertfast.accelerated(model, pad_outputs="none"):
        pass
    assert state_of(model) == before


def test_restore_keeps_what_a_user_put_there(make_pair, batch):
    """Attributes, hooks and methods of the instance's own, from before and from in between."""
    model = make_pair("BertForTokenClassification").stock
    model.note, model.bert.note = "mine", "mine too"
    model.register_forward_hook(lambda module, args, output: None)
    stock = model.classifier.forward
    model.classifier.forward = lambda x: stock(x) + 1
    before = state_of(model)
    bertfast.accelerate(model)
    output_of(model, batch)
    bertfast.restore(model)
    assert state_of(model) == before

    bertfast.accelerate(model)
    model.later = 1
    bertfast.restore(model)
    assert model.later == 1
    assert type(model) is transformers.BertForTokenClassification


def test_the_process_is_accelerated_inside_and_stock_outside(make_pair, batch):
    model, before = make_pair().stock, modeling_bert.BertModel.forward
    for inside in (True, False):
        with counted() as calls:
            if inside:
                with bertfast.installed(), bertfast.installed():
                    output_of(model, batch)
            else:
                output_of(model, batch)
        assert calls == ({"fast": 1} if inside else {})
    assert modeling_bert.BertModel.forward is before
    with pytest.raises(KeyError), bertfast.installed():
        raise KeyError
    assert modeling_bert.BertModel.forward is before


def test_a_process_that_was_accelerated_stays_so(make_pair, batch):
    model = make_pair().stock
    bertfast.install()
    try:
        with bertfast.installed():
            pass
        with counted() as calls:
            output_of(model, batch)
        assert calls == {"fast": 1}
    finally:
        bertfast.uninstall()
