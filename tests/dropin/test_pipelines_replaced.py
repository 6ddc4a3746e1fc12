"""Whoever replaces a part of a pipeline, sees what stock transformers computes at padding."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest
from transformers.models.bert import modeling_bert as hf
from transformers.pipelines import base, pt_utils

import bertfast
from dropin.pipelines import (
    TASKS,
    TEXTS,
    assert_same_result,
    computes_padding,
    drops_padding,
    make_pipes,
    mixed,
    mixed_output,
)

TOKENS, MASK = TASKS


def sums(pipe: Any, outputs: Any, *args: Any, **kwargs: Any) -> list[float]:
    """A ``postprocess`` that adds up the logits of all positions."""
    found = outputs if isinstance(outputs, list) else [outputs]
    return [float(part["logits"].double().sum()) for part in found]


def mixed_result(pipe: Any, own: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """A method's result, its logits mixed."""
    result = own(pipe, *args, **kwargs)
    if isinstance(result, dict) and "logits" in result and result["logits"].dim() == 3:
        result["logits"] = mixed(result["logits"])
    return result


def method_over(own: Callable[..., Any]) -> Callable[..., Any]:
    """A method in the place of one that gives outputs of the model."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return mixed_result(self, own, args, kwargs)

    return method


REPLACED: dict[str, Callable[[type], Callable[..., Any]]] = {
    "postprocess": lambda kind: sums,
    "forward": lambda kind: method_over(kind.forward),
    "_forward": lambda kind: method_over(kind._forward),
    "_ensure_tensor_on_device": lambda kind: method_over(kind._ensure_tensor_on_device),
}


@pytest.mark.parametrize("name", REPLACED)
@pytest.mark.parametrize("task", TASKS)
def test_a_method_of_the_pipelines_own_sees_padding(make_model, tokenizer, task, name):
    stock, fast = make_pipes(make_model, tokenizer, task)
    method = REPLACED[name](type(stock))
    for pipe in (stock, fast):
        setattr(pipe, name, types.MethodType(method, pipe))
    assert_same_result(fast(TEXTS, batch_size=3), stock(TEXTS, batch_size=3))
    computes_padding(fast)


@pytest.mark.parametrize("name", REPLACED)
@pytest.mark.parametrize("where", ["stock's class", "a base class", "the class itself"])
@pytest.mark.parametrize("task", TASKS)
def test_a_method_of_the_class_sees_padding(make_model, tokenizer, monkeypatch, task, where, name):
    stock, fast = make_pipes(make_model, tokenizer, task)
    kind = type(stock)
    method = REPLACED[name](kind)
    if where == "a base class" and name not in vars(base.Pipeline):
        pytest.skip("the pipelines do not inherit it")
    owner = base.Pipeline if where == "a base class" and name not in vars(kind) else kind
    if where == "the class itself":
        monkeypatch.setattr(type(fast), name, method)
    monkeypatch.setattr(owner, name, method)
    assert_same_result(fast(TEXTS, batch_size=3), stock(TEXTS, batch_size=3))
    computes_padding(fast)
    monkeypatch.undo()
    assert_same_result(fast(TEXTS, batch_size=3), stock(TEXTS, batch_size=3))
    drops_padding(fast)


@pytest.mark.parametrize("name", ["gather_pre_entities", "aggregate"])
def test_a_step_of_the_postprocessing_sees_padding(make_model, tokenizer, name):
    stock, fast = make_pipes(make_model, tokenizer, TOKENS)

    def step(*args: Any, **kwargs: Any) -> list[Any]:
        # `gather_pre_entities` is given the scores of all positions, `aggregate` dicts.
        scores = [float(a.astype(float).std()) for a in args if hasattr(a, "astype") and a.ndim == 2]
        return [{"entity": "LABEL_0", "score": score, "scores": args[2][0]} for score in scores] or list(args[0])

    for pipe in (stock, fast):
        pipe.aggregate = lambda entities, strategy: [{"score": e["score"]} for e in entities if "score" in e]
        if name == "gather_pre_entities":
            pipe.gather_pre_entities = step
    assert_same_result(fast(TEXTS, batch_size=3), stock(TEXTS, batch_size=3))
    computes_padding(fast)


@pytest.mark.parametrize("task", TASKS)
def test_a_subclass_sees_padding(make_model, tokenizer, task):
    stock, fast = make_pipes(make_model, tokenizer, task)
    for pipe in (stock, fast):
        pipe.__class__ = type(type(pipe).__name__, (type(pipe),), {"postprocess": sums})
    assert_same_result(fast(TEXTS, batch_size=3), stock(TEXTS, batch_size=3))
    computes_padding(fast)
    kind, expected = type(stock), stock(TEXTS, batch_size=3)
    bertfast.accelerate(stock)
    assert type(stock) is kind, "the class of somebody else's is kept, whatever its name"
    assert_same_result(stock(TEXTS, batch_size=3), expected)
    computes_padding(stock)


@pytest.mark.parametrize("task", TASKS)
def test_a_patched_iterator_sees_padding(make_model, tokenizer, monkeypatch, task):
    stock, fast = make_pipes(make_model, tokenizer, task)
    own = pt_utils.PipelineIterator.loader_batch_item

    def item(self: Any) -> Any:
        data = self._loader_batch_data
        if self._loader_batch_index == 0:
            data["logits"] = mixed(data["logits"])
        return own(self)

    monkeypatch.setattr(pt_utils.PipelineIterator, "loader_batch_item", item)
    assert_same_result(fast(TEXTS, batch_size=3), stock(TEXTS, batch_size=3))
    computes_padding(fast)


@pytest.mark.parametrize("task", TASKS)
def test_a_replaced_iterator_sees_padding(make_model, tokenizer, monkeypatch, task):
    stock, fast = make_pipes(make_model, tokenizer, task)

    class Watching(pt_utils.PipelineIterator):
        def __init__(self, loader: Any, infer: Any, *args: Any, **kwargs: Any) -> None:
            name = getattr(infer, "__name__", "")
            watched = (lambda outputs, **options: sums(None, outputs)) if name == "postprocess" else infer
            super().__init__(loader, watched, *args, **kwargs)

    monkeypatch.setattr(base, "PipelineIterator", Watching)
    assert_same_result(fast(TEXTS, batch_size=3), stock(TEXTS, batch_size=3))
    computes_padding(fast)


@pytest.mark.parametrize("task", TASKS)
def test_iterators_that_somebody_changed_are_kept(make_model, tokenizer, monkeypatch, task):
    stock, fast = make_pipes(make_model, tokenizer, task)
    owner = next(kind for kind in type(stock).__mro__ if "get_iterator" in vars(kind))
    own = owner.get_iterator

    def get_iterator(self: Any, *args: Any) -> Any:
        results = own(self, *args)
        item = results.loader.loader_batch_item

        def changed() -> Any:
            found = item()
            found["logits"] = mixed(found["logits"])
            return found

        results.loader.loader_batch_item = changed
        return results

    monkeypatch.setattr(owner, "get_iterator", get_iterator)
    assert_same_result(fast(TEXTS, batch_size=3), stock(TEXTS, batch_size=3))
    computes_padding(fast)


@pytest.mark.parametrize("kind", [hf.BertForTokenClassification, hf.BertForMaskedLM, hf.BertPredictionHeadTransform])
def test_a_forward_of_transformers_class_that_somebody_replaced_sees_padding(make_model, tokenizer, monkeypatch, kind):
    stock, fast = make_pipes(make_model, tokenizer, TOKENS if kind is hf.BertForTokenClassification else MASK)
    own = kind.forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return mixed_output(self, args, own(self, *args, **kwargs))

    monkeypatch.setattr(kind, "forward", forward)
    assert_same_result(fast(TEXTS, batch_size=3), stock(TEXTS, batch_size=3))
    computes_padding(fast)
