"""Every class, fed every way a model can be fed, gives what stock transformers gives."""

from __future__ import annotations

import pytest
import torch
from tolerances import assert_same_output

from parity.heads import CLASSES, LABELS, POOLED, call_inputs


@pytest.mark.parametrize("side", ["right", "holed"])
@pytest.mark.parametrize("class_name", CLASSES)
def test_outputs_loss_and_hidden_states(class_name, side, config, shared_pair, make_batch):
    pair = shared_pair(class_name, config)
    batch = make_batch(config, side=side)
    output = pair.check(**call_inputs(class_name, batch, labels=True), output_hidden_states=True)
    assert ("loss" in output) == (class_name != "BertModel")
    assert len(output.hidden_states) == config.num_hidden_layers + 1


@pytest.mark.parametrize("side", ["right", "left", "holed"])
@pytest.mark.parametrize("class_name", CLASSES)
def test_plain_call(class_name, side, config, shared_pair, make_batch):
    # Without hidden states and labels: heads that read one token then run the short last layer.
    pair = shared_pair(class_name, config)
    pair.check(**call_inputs(class_name, make_batch(config, side=side)))


@pytest.mark.parametrize("hidden_states", [False, True])
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("class_name", CLASSES)
def test_tuples(class_name, labels, hidden_states, make_config, shared_pair, make_batch):
    config = make_config("relu-3x3x5")
    inputs = call_inputs(class_name, make_batch(config), labels)
    pair = shared_pair(class_name, config)
    output = pair.check(**inputs, return_dict=False, output_hidden_states=hidden_states)
    assert type(output) is tuple


@pytest.mark.parametrize("class_name", CLASSES)
def test_tuples_by_config(class_name, make_config, shared_pair, make_batch):
    config = make_config(return_dict=False, output_hidden_states=True)
    pair = shared_pair(class_name, config)
    output = pair.check(**call_inputs(class_name, make_batch(config), labels=True))
    assert type(output) is tuple


def _without(batch, *names):
    return {name: value for name, value in batch.items() if name not in names}


def _shuffled_positions(batch):
    rows, columns = batch["input_ids"].shape
    generator = torch.Generator().manual_seed(3)
    return torch.stack([torch.randperm(2 * columns, generator=generator)[:columns] for _ in range(rows)])


_FEEDS = {
    "no mask": lambda b: _without(b, "attention_mask"),
    "no token types": lambda b: _without(b, "token_type_ids"),
    "ids alone": lambda b: {"input_ids": b["input_ids"]},
    "position ids": lambda b: {**b, "position_ids": _shuffled_positions(b)},
    "position ids, no token types": lambda b: {
        **_without(b, "token_type_ids"),
        "position_ids": _shuffled_positions(b),
    },
    "position ids, no mask": lambda b: {
        **_without(b, "attention_mask"),
        "position_ids": _shuffled_positions(b),
    },
    "one row of position ids": lambda b: {**b, "position_ids": _shuffled_positions(b)[:1]},
    "one row of token types": lambda b: {**b, "token_type_ids": b["token_type_ids"][:1]},
    "ids in int32": lambda b: {
        **b,
        "input_ids": b["input_ids"].int(),
        "token_type_ids": b["token_type_ids"].int(),
    },
    "ids with strides": lambda b: {**b, "input_ids": b["input_ids"].t().contiguous().t()},
    "mask with strides": lambda b: {**b, "attention_mask": b["attention_mask"].repeat_interleave(2, 1)[:, ::2]},
    "one row": lambda b: {name: value[1:2] for name, value in b.items()},
    "one column": lambda b: {
        "input_ids": b["input_ids"][:, :1],
        "attention_mask": torch.ones_like(b["input_ids"][:, :1]),
        "token_type_ids": b["token_type_ids"][:, :1],
        "position_ids": torch.full_like(b["input_ids"][:, :1], 3),
    },
}


@pytest.mark.parametrize("side", ["right", "holed"])
@pytest.mark.parametrize("feed", _FEEDS)
def test_feeds(feed, side, config, shared_pair, make_batch):
    inputs = _FEEDS[feed](make_batch(config, side=side))
    shared_pair("BertModel", config).check(**inputs, output_hidden_states=True)


def _embeds(pair, batch):
    generator = torch.Generator().manual_seed(5)
    size = (*batch["input_ids"].shape, pair.stock.config.hidden_size)
    return torch.randn(size, generator=generator)


@pytest.mark.parametrize("extra", ["", "attention_mask", "attention_mask token_type_ids position_ids"])
def test_inputs_embeds(extra, config, shared_pair, make_batch):
    pair = shared_pair("BertModel", config)
    batch = make_batch(config, side="holed")
    batch["position_ids"] = _shuffled_positions(batch)
    inputs = {name: batch[name] for name in extra.split()}
    pair.check(inputs_embeds=_embeds(pair, batch), **inputs, output_hidden_states=True)


@pytest.mark.parametrize("class_name", CLASSES)
def test_inputs_embeds_of_every_class(class_name, make_config, shared_pair, make_batch):
    config = make_config()
    pair = shared_pair(class_name, config)
    batch = make_batch(config)
    labels = LABELS[class_name](batch)
    batch["inputs_embeds"] = _embeds(pair, batch)
    inputs = call_inputs(class_name, batch)
    del inputs["input_ids"]
    pair.check(**inputs, **labels)


@pytest.mark.parametrize("class_name", CLASSES)
def test_positional_arguments(class_name, make_config, shared_pair, make_batch, all_fast):
    config = make_config()
    pair = shared_pair(class_name, config)
    inputs = call_inputs(class_name, make_batch(config))
    ordered = [inputs[name] for name in ("input_ids", "attention_mask", "token_type_ids")]
    with torch.no_grad(), all_fast(pair.fast):
        actual = pair.fast(*ordered)
    with torch.no_grad():
        assert_same_output(actual, pair.stock(*ordered), pair.bound)


def test_last_hidden_state_is_one_object(make_config, shared_pair, make_batch):
    config = make_config()
    pair = shared_pair("BertModel", config)
    actual, expected = pair.outputs(**make_batch(config), output_hidden_states=True)
    assert expected.hidden_states[-1] is expected.last_hidden_state
    assert actual.hidden_states[-1] is actual.last_hidden_state


@pytest.mark.parametrize("class_name", POOLED)
def test_pooled_heads_drop_padding(class_name, make_config, shared_pair, make_batch, all_fast):
    # Equal outputs alone would also come from computing all of it.
    import bertfast

    config = make_config()
    pair = shared_pair(class_name, config)
    inputs = call_inputs(class_name, make_batch(config, lengths=(3, 8, 1)))
    pair.check(**inputs)
    report = bertfast.explain(pair.fast)
    repeats = 3 if class_name == "BertForMultipleChoice" else 1
    assert (report.real_tokens, report.computed_tokens, report.padded_tokens) == (
        12 * repeats,
        12 * repeats,
        24 * repeats,
    )
    assert report.first_token_only


def test_without_pooler(config, shared_pair, make_batch):
    import transformers

    import bertfast
    from bertfast.reporting import FAST

    pair = shared_pair("BertModel", config)
    bare = bertfast.BertModel(config, add_pooling_layer=False).eval()
    stock = transformers.BertModel(config, add_pooling_layer=False).eval()
    for model in (bare, stock):
        model.load_state_dict({k: v for k, v in pair.stock.state_dict().items() if "pooler" not in k})
    batch = make_batch(config)
    with torch.no_grad():
        for return_dict in (True, False):
            expected = stock(**batch, return_dict=return_dict)
            assert_same_output(bare(**batch, return_dict=return_dict), expected, pair.bound)
    assert bertfast.explain(bare).path == FAST
