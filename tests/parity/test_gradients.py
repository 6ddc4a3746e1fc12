"""Gradients through the fast forward are stock's, to any order, and stock's errors are raised."""

from __future__ import annotations

import pytest
import torch
from tolerances import TOLERANCES, assert_close, assert_gradients_close, assert_same_output, relative_error

import bertfast
from parity.heads import CLASSES, call_inputs

_DTYPES = [torch.float32, torch.float64]


def _tensors(output):
    """All floating-point tensors of an output, hidden states included."""
    if isinstance(output, torch.Tensor):
        return [output]
    parts = output.values() if isinstance(output, dict) else output
    return [tensor for part in parts for tensor in _tensors(part)]


def _objective(tensors):
    """A scalar in which every element of every tensor has its own weight."""
    generator = torch.Generator().manual_seed(11)
    weights = [torch.randn(t.shape, generator=generator).to(t.dtype) for t in tensors]
    return sum((t * w).sum() + (t * w).pow(2).sum() for t, w in zip(tensors, weights, strict=True))


def _gradients(model):
    found = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    return found


def _assert_equal_gradients(pair, run, calls=1, all_fast=None):
    """``run(model)`` calls backward; the parameters of both models then hold equal gradients."""
    run(pair.stock)
    with all_fast(pair.fast, calls):
        run(pair.fast)
    bound = TOLERANCES[next(pair.fast.parameters()).dtype].gradient
    assert_gradients_close(_gradients(pair.fast), _gradients(pair.stock), bound)


@pytest.fixture
def small(make_config):
    return make_config("relu-3x3x5")


@pytest.mark.parametrize("class_name", CLASSES)
def test_outputs_with_gradients_enabled(class_name, config, shared_pair, make_batch, all_fast):
    # The classic script has no torch.no_grad(): it must be fast, and its outputs part of a graph.
    pair = shared_pair(class_name, config)
    inputs = call_inputs(class_name, make_batch(config, side="holed"), labels=True)
    with all_fast(pair.fast):
        actual = pair.fast(**inputs)
    assert_same_output(actual, pair.stock(**inputs), pair.bound)


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("class_name", CLASSES)
def test_parameters(class_name, dtype, config, shared_pair, make_batch, all_fast):
    pair = shared_pair(class_name, config, dtype)
    inputs = call_inputs(class_name, make_batch(config, side="holed"), labels=True)
    _assert_equal_gradients(pair, lambda m: _objective(_tensors(m(**inputs))).backward(), all_fast=all_fast)


@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification"])
def test_hidden_states_are_parts_of_one_graph(class_name, config, stock_and_fast, make_batch):
    """Each depends on those before it, which one Function cannot say: stock runs, unless nothing is trained."""
    pair = stock_and_fast(class_name, config, torch.float64, on_fallback="silent")
    batch = make_batch(config)
    slopes = []
    for model in (pair.stock, pair.fast):
        output = model(**batch, output_hidden_states=True)
        output.hidden_states[0].retain_grad()
        _objective([output.hidden_states[-1]]).backward()
        slopes.append(output.hidden_states[0].grad)
    assert relative_error(*slopes) <= TOLERANCES[torch.float64].gradient
    assert bertfast.explain(pair.fast).reason == "output_hidden_states with gradients"
    pair.fast.requires_grad_(False)
    pair.check(**batch, output_hidden_states=True)


def test_outputs_may_be_edited_in_place(small, shared_pair, make_batch, all_fast):
    pair = shared_pair("BertModel", small, torch.float64)
    batch = make_batch(small)

    def run(model):
        states = model(**batch).last_hidden_state
        states[batch["attention_mask"] == 0] = 0
        _objective([states.mul_(2)]).backward()

    _assert_equal_gradients(pair, run, all_fast=all_fast)


def test_only_what_the_outputs_depend_on_has_gradients(small, shared_pair, make_batch, all_fast):
    """With inputs_embeds, the word embeddings take no part."""
    pair = shared_pair("BertForSequenceClassification", small, torch.float64)
    embeds = torch.randn(2, 5, small.hidden_size, dtype=torch.float64)
    trained = ("bert.embeddings.word_embeddings.weight", "classifier.weight")

    def run(model):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in trained)
        model(inputs_embeds=embeds).logits.sum().backward()
        model.requires_grad_(True)

    run(pair.stock)
    with all_fast(pair.fast):
        run(pair.fast)
    found, wanted = _gradients(pair.fast), _gradients(pair.stock)
    assert {name for name, g in found.items() if g is not None} == {n for n, g in wanted.items() if g is not None}
    assert relative_error(found[trained[1]], wanted[trained[1]]) <= TOLERANCES[torch.float64].gradient


def test_loss_on_the_pooled_output_alone(small, shared_pair, make_batch, all_fast):
    pair = shared_pair("BertModel", small, torch.float64)
    batch = make_batch(small)
    _assert_equal_gradients(pair, lambda m: m(**batch).pooler_output.sum().backward(), all_fast=all_fast)


def test_accumulation(small, shared_pair, make_batch, all_fast):
    """Two forwards, then both backwards, in the other order: each recomputes its own inputs."""
    pair = shared_pair("BertForSequenceClassification", small, torch.float64)
    inputs = [call_inputs("BertForSequenceClassification", make_batch(small, seed=s), True) for s in (1, 2)]

    def run(model):
        first, second = (model(**kwargs).loss for kwargs in inputs)
        second.backward()
        (3 * first).backward()

    _assert_equal_gradients(pair, run, calls=2, all_fast=all_fast)


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("leaf", [True, False])
def test_inputs_embeds(leaf, dtype, config, shared_pair, make_batch, all_fast):
    pair = shared_pair("BertModel", config, dtype)
    batch = make_batch(config, side="holed")
    start = torch.randn(*batch.pop("input_ids").shape, config.hidden_size, dtype=dtype)
    found = {}

    def run(model):
        given = start.clone().requires_grad_()
        embeds = given if leaf else given * 2
        _objective(_tensors(model(inputs_embeds=embeds, **batch))).backward()
        found[model] = given.grad

    _assert_equal_gradients(pair, run, all_fast=all_fast)
    assert_close(found[pair.fast], found[pair.stock], TOLERANCES[dtype].gradient)


def test_frozen_parameters(small, stock_and_fast, make_batch, all_fast):
    pair = stock_and_fast("BertForSequenceClassification", small, torch.float64)
    for model in (pair.stock, pair.fast):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("classifier" in name or "layer.1" in name)
    inputs = call_inputs("BertForSequenceClassification", make_batch(small), labels=True)
    _assert_equal_gradients(pair, lambda m: m(**inputs).loss.backward(), all_fast=all_fast)


def test_frozen_encoder(small, stock_and_fast, make_batch, all_fast):
    """Feature extraction: nothing before the head needs a graph, and stock builds none."""
    pair = stock_and_fast("BertModel", small)
    for model in (pair.stock, pair.fast):
        model.requires_grad_(False)
    with all_fast(pair.fast):
        actual = pair.fast(**make_batch(small))
    assert not actual.last_hidden_state.requires_grad
    assert_same_output(actual, pair.stock(**make_batch(small)), pair.bound)


@pytest.mark.parametrize("side", ["right", "holed"])
def test_zero_pad_outputs(side, small, shared_pair, make_batch, all_fast):
    """Dropped positions are constants: whatever a loss reads there moves no parameter."""
    pair = shared_pair("BertModel", small, torch.float64, pad_outputs="zero")
    batch = make_batch(small, side=side)
    dropped = (batch["attention_mask"] == 0) & (batch["input_ids"] == small.pad_token_id)
    dropped[:, 0] = False
    assert dropped.any()

    def run(model):
        states = model(**batch).last_hidden_state
        if model is pair.stock:
            states = states.masked_fill(dropped.unsqueeze(2), 0)
        _objective([states]).backward()

    _assert_equal_gradients(pair, run, all_fast=all_fast)


# Double backward. The fused CPU attention has no second derivative, in stock neither.


@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification", "BertForMaskedLM"])
def test_gradient_penalty(class_name, make_config, shared_pair, make_batch, all_fast):
    config = make_config("gelu-2x4x12-eager")
    pair = shared_pair(class_name, config, torch.float64)
    inputs = call_inputs(class_name, make_batch(config, side="holed"), labels=True)
    start = torch.randn(*inputs.pop("input_ids").shape, config.hidden_size, dtype=torch.float64)
    found = {}

    def run(model):
        embeds = start.clone().requires_grad_()
        loss = _objective(_tensors(model(inputs_embeds=embeds, **inputs)))
        (slope,) = torch.autograd.grad(loss, embeds, create_graph=True)
        (loss + slope.pow(2).sum()).backward()
        found[model] = embeds.grad

    _assert_equal_gradients(pair, run, all_fast=all_fast)
    assert_close(found[pair.fast], found[pair.stock], TOLERANCES[torch.float64].gradient)


def test_penalty_on_parameter_gradients(make_config, shared_pair, make_batch, all_fast):
    config = make_config("gelu-2x4x12-eager")
    pair = shared_pair("BertModel", config, torch.float64)
    batch = make_batch(config)

    def run(model):
        loss = _objective(_tensors(model(**batch)))
        slopes = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        sum(slope.pow(2).sum() for slope in slopes).backward()

    _assert_equal_gradients(pair, run, all_fast=all_fast)


# What autograd promises beside numbers.


def test_retain_graph(small, shared_pair, make_batch, all_fast):
    pair = shared_pair("BertModel", small, torch.float64)
    batch = make_batch(small)

    def run(model):
        loss = _objective(_tensors(model(**batch)))
        loss.backward(retain_graph=True)
        loss.backward()

    _assert_equal_gradients(pair, run, all_fast=all_fast)


def test_second_backward_raises(small, stock_and_fast, make_batch):
    pair = stock_and_fast("BertModel", small)
    for model in (pair.stock, pair.fast):
        loss = model(**make_batch(small)).last_hidden_state.sum()
        loss.backward()
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            loss.backward()


@pytest.mark.parametrize("parameter", ["embeddings.LayerNorm.weight", "encoder.layer.1.output.dense.weight"])
def test_parameter_changed_before_backward_raises(parameter, small, stock_and_fast, make_batch, all_fast):
    pair = stock_and_fast("BertModel", small)
    for model in (pair.stock, pair.fast):
        loss = model(**make_batch(small)).last_hidden_state.sum()
        with torch.no_grad():
            model.get_parameter(parameter).mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
    with torch.no_grad(), all_fast(pair.fast):
        pair.fast(**make_batch(small))


@pytest.mark.parametrize("name", ["input_ids", "token_type_ids", "position_ids"])
def test_ids_overwritten_before_backward_raise(name, small, stock_and_fast, make_batch):
    """A loop that reuses its input buffers: stock notices, and the gradients must not be of other texts."""
    pair = stock_and_fast("BertModel", small)
    for model in (pair.stock, pair.fast):
        batch = make_batch(small)
        batch["position_ids"] = torch.arange(batch["input_ids"].shape[1]).repeat(len(batch["input_ids"]), 1)
        loss = model(**batch).last_hidden_state.sum()
        batch[name].copy_(batch[name].flip(1))
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_mask_overwritten_before_backward(small, shared_pair, make_batch, all_fast):
    """Stock has made its own mask from the given one, so that a later change does not matter."""
    pair = shared_pair("BertModel", small, torch.float64)

    def run(model):
        batch = make_batch(small)
        loss = _objective(_tensors(model(**batch)))
        batch["attention_mask"].fill_(1)
        loss.backward()

    _assert_equal_gradients(pair, run, all_fast=all_fast)


def test_train_called_before_backward(small, stock_and_fast, make_batch, all_fast):
    pair = stock_and_fast("BertModel", small, torch.float64)

    def run(model):
        loss = _objective(_tensors(model(**make_batch(small))))
        model.train()
        loss.backward()
        assert all(module.training for module in model.modules())
        model.eval()

    _assert_equal_gradients(pair, run, all_fast=all_fast)


@pytest.mark.parametrize("hooked", ["parameter", "embeddings"])
def test_gradient_hooks_run_once(hooked, small, stock_and_fast, make_batch, all_fast):
    """A hook that scales a gradient must not scale it twice."""
    pair = stock_and_fast("BertModel", small, torch.float64)
    batch = make_batch(small)
    start = torch.randn(*batch.pop("input_ids").shape, small.hidden_size, dtype=torch.float64)
    found, calls = {}, []

    def hook(gradient):
        calls.append(gradient)
        return 3 * gradient

    def run(model):
        given = start.clone().requires_grad_()
        embeds = given * 2
        (embeds if hooked == "embeddings" else model.encoder.layer[0].output.dense.weight).register_hook(hook)
        _objective(_tensors(model(inputs_embeds=embeds, **batch))).backward()
        found[model] = given.grad

    _assert_equal_gradients(pair, run, all_fast=all_fast)
    assert_close(found[pair.fast], found[pair.stock], TOLERANCES[torch.float64].gradient)
    assert len(calls) == 2
