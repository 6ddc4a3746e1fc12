"""Whole models in bfloat16 and int8: within bounds of their own, everything else as in float32."""

from __future__ import annotations

import pytest
import torch
import transformers
from tolerances import REDUCED_TOLERANCES, TOLERANCES, assert_gradients_close, relative_error

import bertfast
from bertfast import cpu_dense
from parity.heads import CLASSES, call_inputs


@pytest.mark.parametrize("side", ["right", "left", "holed"])
@torch.no_grad()
def test_encoder(side, config, precision, shared_pair, make_batch, all_fast):
    pair, batch = shared_pair("BertModel", config, precision=precision), make_batch(config, side=side)
    expected = pair.stock(**batch, output_hidden_states=True)
    with all_fast(pair.fast):
        actual = pair.fast(**batch, output_hidden_states=True)
    for found, wanted in zip(actual.hidden_states, expected.hidden_states, strict=True):
        assert found.dtype == torch.float32
        assert relative_error(found, wanted) <= REDUCED_TOLERANCES[precision].model
    report = bertfast.explain(pair.fast)
    who = "bertfast" if cpu_dense.serves(precision) else "onednn"
    assert (report.matmul_precision, report.linear_backend) == (precision, f"{who} {precision}")
    assert report.weight_copy_bytes > 0
    assert precision in str(report)


@pytest.mark.parametrize("class_name", CLASSES)
@torch.no_grad()
def test_classes(class_name, precision, make_config, shared_pair, make_batch, all_fast):
    config = make_config("gelu_new-2x2x64")
    pair, inputs = shared_pair(class_name, config, precision=precision), call_inputs(class_name, make_batch(config))
    expected = pair.stock(**inputs)
    with all_fast(pair.fast):
        actual = pair.fast(**inputs)
    for found, wanted in zip(actual.to_tuple(), expected.to_tuple(), strict=True):
        assert relative_error(found, wanted) <= REDUCED_TOLERANCES[precision].model


def test_gradients_are_those_of_stock(precision, make_config, stock_and_fast, make_batch):
    config = make_config()
    pair, batch = stock_and_fast("BertModel", config, precision=precision), make_batch(config)
    for model in (pair.stock, pair.fast):
        model(**batch).last_hidden_state.sum().backward()
    expected, actual = ({name: p.grad for name, p in m.named_parameters()} for m in (pair.stock, pair.fast))
    assert_gradients_close(actual, expected, TOLERANCES[torch.float32].gradient)


@torch.no_grad()
def test_padding_costs_nothing(precision, make_config, shared_pair, make_batch):
    """A text alone and beside longer ones: equal up to the order of sums, which few roundings see."""
    config = make_config("gelu-1x2x32")
    model = shared_pair("BertModel", config, precision=precision).fast
    batch = make_batch(config)
    together = model(**batch).last_hidden_state[3, :2]
    alone = model(**{name: value[3:4, :2] for name, value in batch.items()}).last_hidden_state[0]
    assert relative_error(together, alone) <= REDUCED_TOLERANCES[precision].dense


@torch.no_grad()
def test_minilm_on_real_text(precision, minilm, real_text, all_fast):
    stock = transformers.BertModel.from_pretrained(minilm).eval()
    fast = bertfast.BertModel.from_pretrained(minilm, precision=precision).eval()
    batch = real_text(96)
    with all_fast(fast):
        actual = fast(**batch).last_hidden_state
    mask = batch["attention_mask"].bool()
    expected = stock(**batch).last_hidden_state
    assert relative_error(actual[mask], expected[mask]) <= REDUCED_TOLERANCES[precision].model

    def embed(states):
        return (states * mask.unsqueeze(2)).sum(1)

    cosines = torch.nn.functional.cosine_similarity(embed(actual), embed(expected))
    assert cosines.min() >= REDUCED_TOLERANCES[precision].cosine
