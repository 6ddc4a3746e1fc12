"""Calls and changes inside of a block: what is called explicitly is for good."""

from __future__ import annotations

import copy

import pytest
import transformers

import bertfast
from bertfast import engines
from bertfast.models.accelerate import accelerate_loaded
from dropin.blocks import HEAD, SCOPES, close, opened, path_of
from dropin.helpers import output_of, state_of


@pytest.mark.parametrize("depth", [1, 2])
def test_accelerate_inside_of_a_block_outlives_it(make_pair, batch, depth):
    model = make_pair(HEAD).stock
    blocks = [opened(bertfast.accelerated(model, pad_outputs="exact")) for _ in range(depth)]
    bertfast.accelerate(model, pad_outputs="zero")
    inside = state_of(model)
    for block in blocks:
        assert bertfast.explain(model).pad_outputs == "zero"
        close(block)
    assert state_of(model) == inside
    assert type(model) is bertfast.BertForSequenceClassification
    assert path_of(model, batch) == "fast"


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("was", ["stock", "fast"])
def test_restore_inside_of_a_block_outlives_it(make_pair, batch, was, depth):
    pair = make_pair(HEAD)
    model = getattr(pair, was)
    output_of(model, batch)
    blocks = [opened(bertfast.accelerated(model)) for _ in range(depth)]
    output_of(model, batch)
    bertfast.restore(model)
    inside = state_of(model)
    for block in blocks:
        assert path_of(model, batch) == "untouched"
        close(block)
    assert state_of(model) == inside
    assert type(model.bert) is transformers.BertModel
    assert engines.held(model.bert) is None


def test_a_block_begun_after_restore_ends_where_restore_left_it(make_pair, batch):
    model = make_pair().fast
    outer = opened(bertfast.accelerated(model))
    bertfast.restore(model)
    with bertfast.accelerated(model):
        close(outer)
        assert path_of(model, batch) == "fast"
    assert path_of(model, batch) == "untouched"


def test_what_must_be_fast_from_now_on_keeps_the_options_of_a_block_to_the_block(make_pair, batch):
    """What ``bertfast.pipeline(model=...)`` does to the model that it is given."""
    model = make_pair(HEAD).stock
    with bertfast.accelerated(model, pad_outputs="zero"):
        accelerate_loaded(model, {})
        assert bertfast.explain(model).pad_outputs == "zero"
    assert type(model) is bertfast.BertForSequenceClassification
    assert bertfast.explain(model).pad_outputs == "auto"
    assert path_of(model, batch) == "fast"


@pytest.mark.parametrize("made", ["stock", "fast"])
def test_an_encoder_put_in_stays_what_it_is_and_one_taken_out_is_put_back(make_pair, batch, made):
    pair, other = make_pair(HEAD), getattr(make_pair(), made)
    model, old = pair.stock, pair.stock.bert
    with bertfast.accelerated(model):
        model.bert = other
        assert path_of(model, batch) == ("fast" if made == "fast" else "untouched")
        assert path_of(old, batch) == "fast"
    assert path_of(model, batch) == ("fast" if made == "fast" else "untouched")
    assert path_of(old, batch) == "untouched"
    assert type(model) is transformers.BertForSequenceClassification


def test_an_encoder_put_in_and_accelerated_by_a_block_inside(make_pair, batch):
    model = make_pair(HEAD).stock
    outer = opened(bertfast.accelerated(model))
    model.bert = make_pair().stock
    inner = opened(bertfast.accelerated(model))
    close(outer)
    assert type(model) is bertfast.BertForSequenceClassification
    assert path_of(model, batch) == "fast"
    close(inner)
    assert type(model) is transformers.BertForSequenceClassification
    assert path_of(model, batch) == "untouched"


def test_a_copy_made_inside_is_accelerated_by_itself(make_pair, batch):
    model = make_pair().stock
    with bertfast.accelerated(model, pad_outputs="zero"):
        duplicate = copy.deepcopy(model)
    assert path_of(model, batch) == "untouched"
    assert path_of(duplicate, batch) == "fast"
    assert bertfast.explain(duplicate).pad_outputs == "zero"


def test_install_inside_of_a_block_outlives_it(make_pair, batch):
    model = make_pair().stock
    with bertfast.installed():
        bertfast.install()
    try:
        assert path_of(model, batch) == "fast"
    finally:
        bertfast.uninstall()
    assert path_of(model, batch) == "untouched"


def test_uninstall_inside_of_a_block_is_obeyed(make_pair, batch):
    model = make_pair().stock
    bertfast.install()
    with bertfast.installed():
        bertfast.uninstall()
        assert path_of(model, batch) == "untouched"
        later = opened(bertfast.installed())
    assert path_of(model, batch) == "fast"
    close(later)
    assert path_of(model, batch) == "untouched"


@pytest.mark.parametrize("first", ["accelerated", "installed"])
def test_both_kinds_of_block_overlap(make_pair, batch, first):
    model = make_pair().stock
    before = state_of(model)
    second = next(name for name in SCOPES if name != first)
    blocks = []
    for name in (first, second):
        blocks.append(opened(SCOPES[name](model)))
        assert path_of(model, batch) == "fast"
    close(blocks[0])
    assert path_of(model, batch) == "fast"
    close(blocks[1])
    assert state_of(model) == before
    assert path_of(model, batch) == "untouched"
