"""Numbers at the edges: NaN and infinity at the same places as transformers, no overflow that it lacks, odd sizes."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers
from precisions import MULTIPLIERS, multiply_by

import bertfast
from bertfast import cpu_kernels

_VALUES = [float("nan"), float("inf"), float("-inf")]
_PARAMETERS = [
    "embeddings.word_embeddings.weight",
    "embeddings.LayerNorm.bias",
    *(
        f"encoder.layer.1.{name}"
        for name in (
            "attention.self.query.weight",
            "attention.self.query.bias",
            "attention.self.key.weight",
            "attention.self.key.bias",
            "attention.self.value.weight",
            "attention.self.value.bias",
            "attention.output.dense.weight",
            "attention.output.LayerNorm.weight",
            "intermediate.dense.bias",
            "output.dense.weight",
            "output.LayerNorm.bias",
        )
    ),
]


@pytest.fixture(params=["bertfast", "PyTorch"])
def attention(request, monkeypatch):
    """Who computes it."""
    if request.param == "PyTorch":
        monkeypatch.setattr(cpu_kernels, "serves_attention", lambda qkv: False)
    return request.param


def _model(config, dtype=torch.float32, **changes):
    torch.manual_seed(0)
    return transformers.BertModel(config(**changes)).eval().to(dtype)


def _batch():
    mask = (torch.arange(9) < torch.tensor([[9], [5], [1]])).long()
    return {"input_ids": torch.arange(27).view(3, 9) * mask, "attention_mask": mask}


def _spoil(model, name, value):
    # Of an embedding, the row of an id that is no padding.
    parameter = model.get_parameter(name)
    parameter.view(-1)[3 if parameter.dim() == 1 else 4 * parameter.shape[1] + 3] = value


def _compared(name, value, mask):
    """Stock adds its mask to the scores of padding: where these are infinite, padding reaches a text as NaN there."""
    padding_is_seen = value == float("inf") and (".query." in name or ".key." in name)
    return mask * mask.all(1, keepdim=True) if padding_is_seen else mask


def _same_places(found, expected, mask):
    for name in ("last_hidden_state", "pooler_output"):
        a, b = found[name].isfinite(), expected[name].isfinite()
        real = mask.bool() if name == "last_hidden_state" else mask[:, 0].bool()
        a, b = a[real], b[real]
        assert torch.equal(a, b), f"{name}: {int((~a).sum())} are not finite, {int((~b).sum())} of stock"


@pytest.mark.parametrize("value", _VALUES)
@pytest.mark.parametrize("name", _PARAMETERS)
@torch.no_grad()
def test_weights(name, value, attention, make_config):
    stock = _model(lambda: make_config("gelu_new-2x2x64", attn_implementation="sdpa"))
    _spoil(stock, name, value)
    batch = _batch()
    expected, compared = stock(**batch), _compared(name, value, batch["attention_mask"])
    for options in ({}, {"invariant": True}, {"pad_outputs": "zero"}):
        fast = bertfast.accelerate(copy.deepcopy(stock), on_fallback="raise", **options)
        _same_places(fast(**batch), expected, compared)


@pytest.mark.parametrize("name", _PARAMETERS)
@torch.no_grad()
def test_nan_without_a_mask(name, attention, make_config):
    """As stock's eager attention: PyTorch's own on a CPU swallows a NaN among scores where no mask is given."""
    stock = _model(lambda: make_config("gelu_new-2x2x64", attn_implementation="eager"))
    _spoil(stock, name, float("nan"))
    ids = torch.arange(18).view(2, 9)
    fast = bertfast.accelerate(copy.deepcopy(stock), on_fallback="raise")
    _same_places(fast(ids), stock(ids), torch.ones(2, 9))


def _spoiled(name, value, make_config, dtype=torch.float32, **options):
    """Outputs of bertfast and of stock, and the mask of what is compared."""
    stock = _model(lambda: make_config("gelu_new-2x2x64", attn_implementation="sdpa"), dtype)
    _spoil(stock, name, value)
    fast = bertfast.accelerate(copy.deepcopy(stock), on_fallback="raise", **options)
    batch = _batch()
    return fast(**batch), stock(**batch), _compared(name, value, batch["attention_mask"])


@pytest.mark.parametrize("multiplier", MULTIPLIERS)
@pytest.mark.parametrize("value", _VALUES)
@torch.no_grad()
def test_reduced_precisions(value, precision, multiplier, make_config, monkeypatch):
    multiply_by(multiplier, monkeypatch)
    for name in _PARAMETERS:
        found, expected, compared = _spoiled(name, value, make_config, precision=precision)
        if precision == "int8" and value == value and name.endswith("query.weight"):
            # Its output is NaN, whatever the sign of the other factor: no score of -infinity is left.
            places = expected.last_hidden_state.isfinite() | ~found.last_hidden_state.isfinite()
            assert places[compared.bool()].all()
            continue
        _same_places(found, expected, compared)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("value", _VALUES)
@torch.no_grad()
def test_weights_in_half_precision(value, dtype, attention, make_config):
    for name in _PARAMETERS:
        _same_places(*_spoiled(name, value, make_config, dtype))


@pytest.mark.parametrize("value", _VALUES)
@torch.no_grad()
def test_given_embeddings(value, attention, make_config):
    """What one text holds stays in it."""
    stock = _model(lambda: make_config("gelu_new-2x2x64", attn_implementation="sdpa"))
    batch = _batch()
    embeds = stock.embeddings.word_embeddings(batch.pop("input_ids"))
    embeds[1, 2, 7] = value
    fast = bertfast.accelerate(copy.deepcopy(stock), on_fallback="raise")
    found = fast(inputs_embeds=embeds, **batch)
    _same_places(found, stock(inputs_embeds=embeds, **batch), batch["attention_mask"])
    assert found.last_hidden_state[[0, 2]].isfinite().all()
    assert not found.last_hidden_state[1, :5].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@torch.no_grad()
def test_large_activations(dtype, attention, make_config):
    """Of 1e4, in the embeddings' norm and behind the first layer: finite wherever stock is."""
    for name in ("embeddings.LayerNorm.weight", "encoder.layer.0.output.LayerNorm.weight"):
        stock = _model(lambda: make_config("gelu_new-2x2x64", attn_implementation="sdpa"), dtype)
        stock.get_parameter(name).fill_(1e4)
        batch = _batch()
        expected = stock(**batch)
        found = bertfast.accelerate(copy.deepcopy(stock), on_fallback="raise")(**batch)
        for key in ("last_hidden_state", "pooler_output"):
            real = batch["attention_mask"].bool() if key == "last_hidden_state" else slice(None)
            assert found[key][real].isfinite()[expected[key][real].isfinite()].all()
        assert expected.last_hidden_state[batch["attention_mask"].bool()].isfinite().any()


@pytest.mark.parametrize("lengths", [(64,), (64, 1, 63), (1,), (1, 1, 1)])
@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification"])
def test_one_token_and_the_position_limit(class_name, lengths, config, shared_pair, make_batch):
    shared_pair(class_name, config, pad_outputs="exact").check(**make_batch(config, lengths))


@pytest.mark.parametrize("hidden", [(1, 1), (7, 1), (20, 4), (33, 3), (130, 2)])
def test_hidden_sizes_that_are_no_multiple_of_eight(hidden, make_config, stock_and_fast, make_batch):
    size, heads = hidden
    config = make_config(hidden_size=size, num_attention_heads=heads, intermediate_size=size + 2)
    pair = stock_and_fast("BertModel", config, torch.float64)
    pair.check(**make_batch(config))
    pair = stock_and_fast("BertModel", config, precision="float32")
    found, expected = pair.outputs(**make_batch(config))
    assert torch.allclose(found[0], expected[0], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [(1,) * 100_000, (64,) * 1563, (63, 1) * 1600])
def test_a_hundred_thousand_tokens(lengths, make_config, shared_pair, make_batch):
    config = make_config("gelu-1x2x32")
    shared_pair("BertModel", config, pad_outputs="exact").check(**make_batch(config, lengths))
