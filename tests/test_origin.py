"""Whose code a function is, whatever it says of itself."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers.models.bert import modeling_bert as hf

import bertfast
from bertfast.families import bert as family
from bertfast.origin import home, is_defined_in

HOMES = ("torch", "transformers")


def _wrapped(function: Any) -> Any:
    """A function of this file, with the name, the module and the rest of the original."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def _wrapped_without_a_trace(function: Any) -> Any:
    wrapper = _wrapped(function)
    del wrapper.__wrapped__
    return wrapper


class _Callable:
    """An object that says it is torch's function."""

    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any) -> Any:
        return self.__wrapped__(*args)


FOREIGN = {
    "a wrapper": _wrapped,
    "a wrapper without a trace": _wrapped_without_a_trace,
    "an object": _Callable,
    "a partial": functools.partial,
    "a builtin": lambda function: math.sqrt,
}


@pytest.mark.parametrize("function", [F.linear, F.layer_norm, torch.nn.Linear.forward, hf.BertLayer.forward])
@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_a_function_of_somebody_else(function, make):
    assert is_defined_in(HOMES, function)
    assert not is_defined_in(HOMES, make(function))


def test_a_package_is_a_whole_name():
    assert home(F.linear).startswith("torch.")
    assert is_defined_in("torch", F.linear)
    assert not is_defined_in("tor", F.linear)
    assert not is_defined_in("transformers", F.linear)


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_code_that_was_replaced_before_bertfast_came(make, monkeypatch):
    """`functools.wraps` copies the module's name along: it must not pass for transformers' own."""
    assert family._foreign_code() is None
    replaced = make(hf.BertLayer.forward)
    monkeypatch.setattr(hf.BertLayer, "forward", replaced)
    code = [(o, n, replaced if o is hf.BertLayer and n == "forward" else f) for o, n, f in family._CODE]
    monkeypatch.setattr(family, "_CODE", code)
    assert family._foreign_code() == "BertLayer.forward has been replaced"


def test_a_hook_that_wraps_transformers_own_is_not_transformers_own(make_config, make_batch):
    model = bertfast.BertModel(make_config(attn_implementation="sdpa")).eval()
    model.gradient_checkpointing_enable()
    table = model.embeddings.word_embeddings
    if not table._forward_hooks:
        model.enable_input_require_grads()
    number, hook = next(iter(table._forward_hooks.items()))
    with torch.no_grad():
        model(**make_batch(make_config(), (3, 2)))
        assert bertfast.explain(model).path == "fast"
        table._forward_hooks[number] = _wrapped(hook)
        model(**make_batch(make_config(), (3, 2)))
    assert bertfast.explain(model).reason == "a hook on embeddings.word_embeddings"
