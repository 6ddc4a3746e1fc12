"""``pad_outputs``: what stands at padded positions, and what is computed for it."""

from __future__ import annotations

import pytest
import torch
from tolerances import relative_error

import bertfast
from parity.heads import CLASSES, POOLED, call_inputs


def _kept(batch, config):
    """The rule, written out: a position is dropped only if hidden and holding the pad id; column 0 never is."""
    rows, columns = batch["input_ids"].shape
    kept = torch.ones(rows, columns, dtype=torch.bool)
    for row in range(rows):
        for column in range(1, columns):
            hidden = batch["attention_mask"][row, column] == 0
            kept[row, column] = not (hidden and batch["input_ids"][row, column] == config.pad_token_id)
    return kept


@pytest.mark.parametrize("side", ["right", "left", "holed"])
@pytest.mark.parametrize("pad_outputs", ["auto", "exact"])
def test_auto_and_exact_equal_stock_everywhere(pad_outputs, side, config, shared_pair, make_batch):
    pair = shared_pair("BertModel", config, pad_outputs=pad_outputs)
    batch = make_batch(config, side=side)
    pair.check(**batch, output_hidden_states=True)
    assert bertfast.explain(pair.fast).computed_tokens == batch["input_ids"].numel()


@pytest.mark.parametrize("side", ["right", "left", "holed"])
def test_zero(side, config, shared_pair, make_batch):
    pair = shared_pair("BertModel", config, pad_outputs="zero")
    batch = make_batch(config, side=side)
    kept = _kept(batch, config)
    assert not kept.all()
    actual, expected = pair.outputs(**batch, output_hidden_states=True)
    for found, wanted in zip(actual.hidden_states, expected.hidden_states, strict=True):
        assert relative_error(found[kept], wanted[kept]) <= pair.bound
        assert (found[~kept] == 0).all()
    assert relative_error(actual.pooler_output, expected.pooler_output) <= pair.bound
    report = bertfast.explain(pair.fast)
    assert report.real_tokens == batch["attention_mask"].sum()
    assert report.computed_tokens == kept.sum()


def test_zero_keeps_column_0_under_mask_0(make_config, shared_pair, make_batch):
    # Left padding: column 0 holds the pad id under mask 0, and the pooler reads it all the same.
    config = make_config("relu-3x3x5")
    batch = make_batch(config, lengths=(2, 7), side="left")
    assert batch["attention_mask"][0, 0] == 0
    assert batch["input_ids"][0, 0] == config.pad_token_id
    actual, expected = shared_pair("BertModel", config, pad_outputs="zero").outputs(**batch)
    assert relative_error(actual.last_hidden_state[:, 0], expected.last_hidden_state[:, 0]) <= 2e-6


def test_zero_drops_nothing_of_inputs_embeds(make_config, shared_pair, make_batch):
    # Without ids nobody can tell a pad from a token.
    config = make_config("relu-3x3x5")
    pair = shared_pair("BertModel", config, pad_outputs="zero")
    batch = make_batch(config)
    embeds = torch.randn(*batch.pop("input_ids").shape, config.hidden_size)
    pair.check(inputs_embeds=embeds, **batch)


def test_zero_without_a_pad_id_drops_nothing(make_config, shared_pair, make_batch):
    config = make_config("gelu-1x2x32")
    batch = make_batch(config)
    config.pad_token_id = None
    shared_pair("BertModel", config, pad_outputs="zero").check(**batch)


@pytest.mark.parametrize("pad_outputs", ["auto", "exact", "zero"])
@pytest.mark.parametrize("class_name", POOLED)
def test_pooled_heads_cannot_see_the_difference(class_name, pad_outputs, config, shared_pair, make_batch):
    pair = shared_pair(class_name, config, pad_outputs=pad_outputs)
    inputs = call_inputs(class_name, make_batch(config, side="holed"), labels=True)
    pair.check(**inputs)
    report = bertfast.explain(pair.fast)
    assert (report.computed_tokens == report.padded_tokens) == (pad_outputs == "exact")


@pytest.mark.parametrize("class_name", POOLED)
def test_pooled_heads_show_padding_in_hidden_states(class_name, make_config, shared_pair, make_batch):
    # Asked for hidden states, even a pooled head shows padding: auto computes it.
    config = make_config()
    inputs = call_inputs(class_name, make_batch(config))
    shared_pair(class_name, config).check(**inputs, output_hidden_states=True)


@pytest.mark.parametrize("class_name", [name for name in CLASSES if name not in POOLED])
def test_zero_in_token_heads(class_name, make_config, shared_pair, make_batch):
    """Attended positions get stock's outputs whatever the head makes of the zeros elsewhere."""
    config = make_config("gelu_new-2x2x64")
    pair = shared_pair(class_name, config, pad_outputs="zero")
    batch = make_batch(config, side="holed")
    actual, expected = pair.outputs(**call_inputs(class_name, batch))
    compared = 0
    for name, wanted in expected.items():
        found = actual[name]
        if wanted.shape[:2] == batch["input_ids"].shape:
            seen = batch["attention_mask"].bool()
            found, wanted = found[seen], wanted[seen]
        assert relative_error(found, wanted) <= pair.bound, name
        compared += 1
    assert compared


def test_no_mask_means_no_padding(config, shared_pair, make_batch):
    ids = make_batch(config)["input_ids"]
    pair = shared_pair("BertModel", config, pad_outputs="zero")
    pair.check(input_ids=ids)
    assert bertfast.explain(pair.fast).computed_tokens == ids.numel()


def test_what_computing_padding_costs_is_said_once(config, stock_and_fast, make_batch, caplog):
    pair = stock_and_fast("BertModel", config)
    batch = make_batch(config, lengths=(2, 8))
    with caplog.at_level("WARNING", logger="bertfast"):
        bertfast.explain(pair.fast, **batch)
        assert not caplog.records, "a question is no call"
        pair.check(**make_batch(config, lengths=(8, 8)))
        assert not caplog.records, "there was no padding"
        pair.check(**batch)
        pair.check(**batch)
    (record,) = caplog.records
    assert "computing 6 masked tokens of 16 (38 %)" in record.getMessage()
    assert (
        "pad_outputs='zero' drops them, an option of bertfast.accelerate, of bertfast's from_pretrained and of its"
        in (record.getMessage())
    )


@pytest.mark.parametrize("pad_outputs", ["exact", "zero"])
def test_who_has_chosen_is_told_nothing(pad_outputs, config, stock_and_fast, make_batch, caplog):
    pair = stock_and_fast("BertModel", config, pad_outputs=pad_outputs)
    with caplog.at_level("WARNING", logger="bertfast"):
        pair.outputs(**make_batch(config, lengths=(2, 8)))
    assert not caplog.records
