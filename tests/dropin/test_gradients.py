"""Gradients are those of the forward that ran, whatever a script does between forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tolerances import TOLERANCES, assert_gradients_close
from torch import nn

import bertfast
from dropin.helpers import attention, layer


def _gradients(model: nn.Module, inputs: dict[str, Any], between: Callable[[nn.Module, dict[str, Any]], Any]) -> Any:
    """The gradients of all parameters, or RuntimeError if backward refuses; ``between`` runs before backward."""
    inputs = {name: value.clone() for name, value in inputs.items()}
    loss = model(**inputs).last_hidden_state.square().sum()
    between(model, inputs)
    try:
        loss.backward()
    except RuntimeError:
        return RuntimeError
    return {name: p.grad for name, p in model.named_parameters()}


def _reuse_mask(model, inputs):
    inputs["attention_mask"].fill_(1)


def _reuse_ids(model, inputs):
    inputs["input_ids"].fill_(7)


def _reuse_types(model, inputs):
    inputs["token_type_ids"].fill_(1)


def _train(model, inputs):
    model.train()


def _call_again(model, inputs):
    model(inputs["input_ids"].flip(1))


def _call_in_inference_mode(model, inputs):
    with torch.inference_mode():
        model(inputs["input_ids"][:2])


def _step(model, inputs):
    with torch.no_grad():
        layer(model).output.dense.weight.mul_(2)


@pytest.mark.parametrize(
    "between",
    [_reuse_mask, _reuse_ids, _reuse_types, _train, _call_again, _call_in_inference_mode, _step],
    ids=lambda between: between.__name__.strip("_"),
)
def test_what_happens_between_forward_and_backward(make_pair, batch, between):
    # With dropout, which a model that is put in training mode too early would apply.
    pair = make_pair(hidden_dropout_prob=0.5)
    expected, found = (_gradients(model, batch, between) for model in (pair.stock, pair.fast))
    if found is RuntimeError:
        assert expected is RuntimeError
    elif expected is RuntimeError:
        # Stock lost what it needs. Whoever still has it must give the gradients of the forward that ran.
        pair.stock.zero_grad()
        fresh = _gradients(pair.stock, batch, lambda *_: None)
        assert_gradients_close(found, fresh, TOLERANCES[torch.float32].gradient)
    else:
        assert_gradients_close(found, expected, TOLERANCES[torch.float32].gradient)


def test_backward_under_autocast(pair, batch):
    """Autocast decides when an operation runs forward; its backward follows that, not the surroundings."""
    gradients = []
    for model in (pair.stock, pair.fast):
        loss = model(**batch).last_hidden_state.square().sum()
        # Stock's own gradients lose digits in there; bertfast's must be those that stock has outside.
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=model is pair.fast):
            loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert_gradients_close(gradients[1], gradients[0], TOLERANCES[torch.float32].gradient)


def test_two_forwards_and_then_two_backwards(pair, batch):
    gradients = []
    for model in (pair.stock, pair.fast):
        first = model(**batch).last_hidden_state.square().sum()
        second = model(batch["input_ids"].flip(0)).last_hidden_state.sum(2).square().sum()
        second.backward()
        first.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert_gradients_close(gradients[1], gradients[0], TOLERANCES[torch.float32].gradient)


def test_a_hook_on_a_parameter_runs_once(pair, batch):
    """Scaling and clipping hooks would otherwise act twice."""
    calls: list[str] = []
    gradients = []
    for model in (pair.stock, pair.fast):
        weight = attention(model).value.weight
        weight.register_hook(lambda gradient: calls.append("hook") or gradient * 2)
        weight.register_post_accumulate_grad_hook(lambda p: calls.append("accumulated"))
        model(**batch).last_hidden_state.square().sum().backward()
        gradients.append({"value": weight.grad})
    assert calls == ["hook", "accumulated"] * 2
    assert_gradients_close(gradients[1], gradients[0], TOLERANCES[torch.float32].gradient)


def test_backward_after_a_module_was_replaced_says_what_to_do(pair, batch):
    loss = pair.fast(**batch).last_hidden_state.sum()
    layer(pair.fast).output.dense = nn.Linear(80, 48)
    with pytest.raises(bertfast.StaleGraphError, match="run the forward again"):
        loss.backward()
