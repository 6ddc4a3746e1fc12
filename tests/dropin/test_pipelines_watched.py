"""Whoever can see padding in a pipeline, sees what stock transformers computes there."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tolerances import TOLERANCES, assert_close
from torch import Tensor, nn
from transformers.models.bert import modeling_bert as hf
from transformers.pipelines import base, pt_utils

import bertfast
from dropin.pipelines import TASKS, TEXTS, assert_same_result, computes_padding, drops_padding, make_pipes

TOKENS, MASK = TASKS


def mixed(x: Tensor) -> Tensor:
    """Each position with the mean of all, padding too: [B, S, H] -> [B, S, H]."""
    return x + 3 * x.mean(dim=1, keepdim=True)


def mixed_output(module: nn.Module, args: Any, output: Any) -> Any:
    """A forward hook."""
    if isinstance(output, Tensor):
        return mixed(output)
    key = "logits" if "logits" in output else "last_hidden_state"
    output[key] = mixed(output[key])
    return output


def mixed_input(module: nn.Module, args: Any) -> Any:
    """A forward pre-hook."""
    return (mixed(args[0]), *args[1:])


def last_linear(pipe: Any) -> nn.Linear:
    """The layer that gives the logits."""
    return pipe.model.classifier if pipe.task == TOKENS else pipe.model.cls.predictions.decoder


def put_in(pipe: Any, made: nn.Module) -> None:
    """Another layer for the logits, with the same weights."""
    linear = last_linear(pipe)
    made.load_state_dict(linear.state_dict())
    owner, name = (pipe.model, "classifier") if pipe.task == TOKENS else (pipe.model.cls.predictions, "decoder")
    setattr(owner, name, made.eval())


class Mixing(nn.Linear):
    """A layer that looks at other positions."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(mixed(input))


class Weight(nn.Parameter):
    """A parameter that looks at what it is multiplied with."""

    @classmethod
    def __torch_function__(cls, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is nn.functional.linear:
            args = (mixed(args[0]), *args[1:])
        return super().__torch_function__(function, kinds, args, kwargs or {})


class MixingWeight(nn.Module):
    """A parametrization, which changes the layer's class."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight * 2


def wrap(owner: Any, name: str) -> None:
    """An attribute over a module's method that mixes what it gives."""
    own = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        return mixed_output(owner, args, own(*args, **kwargs))

    setattr(owner, name, call)


def replace_weight(pipe: Any) -> None:
    linear = last_linear(pipe)
    linear.weight = Weight(linear.weight.detach().clone())


def hide_layer(pipe: Any) -> None:
    """Attributes that hide a registered module."""
    owner, name = (pipe.model, "classifier") if pipe.task == TOKENS else (pipe.model.cls, "predictions")
    hidden = getattr(owner, name)
    owner.__dict__[name] = lambda x: hidden(mixed(x))


def hidden_states(pipe: Any) -> None:
    pipe.model.config.output_hidden_states = True


def see_head_in_training(pipe: Any) -> None:
    last_linear(pipe).train()


#: On the model of a pipeline: what makes padding visible to somebody.
ON_THE_MODEL: dict[str, Callable[[Any], object]] = {
    "another layer": lambda p: put_in(p, Mixing(*reversed(last_linear(p).weight.shape))),
    "a parameter that looks": replace_weight,
    "a parametrization": lambda p: nn.utils.parametrize.register_parametrization(
        last_linear(p), "weight", MixingWeight()
    ),
    "an attribute over a module": hide_layer,
    "a hook on a layer": lambda p: last_linear(p).register_forward_hook(mixed_output),
    "a pre-hook on a layer": lambda p: last_linear(p).register_forward_pre_hook(mixed_input),
    "a hook on the head": lambda p: p.model.register_forward_hook(mixed_output),
    "a hook on the encoder": lambda p: p.model.bert.register_forward_hook(mixed_output),
    "a hook inside of the encoder": lambda p: p.model.bert.encoder.layer[0].output.register_forward_hook(mixed_output),
    "a forward of a layer's own": lambda p: wrap(last_linear(p), "forward"),
    "a forward of the head's own": lambda p: wrap(p.model, "forward"),
    "a forward of the encoder's own": lambda p: wrap(p.model.bert, "forward"),
    "a layer's way to call": lambda p: wrap(last_linear(p), "_call_impl"),
    "an encoder's way to call": lambda p: wrap(p.model.bert, "_call_impl"),
    "hidden states in the config": hidden_states,
    "a layer in training mode": see_head_in_training,
    "another module": lambda p: p.model.add_module("extra", nn.Identity()),
}


@pytest.mark.parametrize("watch", ON_THE_MODEL.values(), ids=ON_THE_MODEL)
@pytest.mark.parametrize("task", TASKS)
def test_who_watches_the_model_sees_padding(make_model, tokenizer, task, watch):
    stock, fast = make_pipes(make_model, tokenizer, task)
    fast(TEXTS, batch_size=3)
    drops_padding(fast)
    for pipe in (stock, fast):
        watch(pipe)
    assert_same_result(fast(TEXTS, batch_size=3), stock(TEXTS, batch_size=3))
    computes_padding(fast)


def test_a_norm_over_positions_sees_padding(make_model, tokenizer):
    stock, fast = make_pipes(make_model, tokenizer, MASK)
    options = {"batch_size": 3, "tokenizer_kwargs": {"padding": "max_length", "max_length": 30}}
    fast(TEXTS, **options)
    drops_padding(fast)
    for pipe in (stock, fast):
        transform = pipe.model.cls.predictions.transform
        transform.LayerNorm = nn.LayerNorm((30, transform.dense.out_features)).eval()
    assert_same_result(fast(TEXTS, **options), stock(TEXTS, **options))
    computes_padding(fast)


def test_an_activation_of_somebodys_sees_padding(make_model, tokenizer):
    stock, fast = make_pipes(make_model, tokenizer, MASK)
    for pipe in (stock, fast):
        pipe.model.cls.predictions.transform.transform_act_fn.act = mixed
    assert_same_result(fast(TEXTS, batch_size=3), stock(TEXTS, batch_size=3))
    computes_padding(fast)


# ---- What a pipeline is made of.


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


# ---- What the texts become.


class CallsNothingSpecial:
    """A tokenizer that pads, and does not tell that padding is special."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = self._own(*args, **kwargs, padding="max_length", max_length=30)
        found["special_tokens_mask"] = torch.zeros_like(found["special_tokens_mask"])
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


def test_padding_that_is_not_called_special_is_read(make_model, tokenizer):
    stock, fast = make_pipes(make_model, tokenizer, TOKENS)
    for pipe in (stock, fast):
        pipe.tokenizer = CallsNothingSpecial(pipe.tokenizer)
    assert_same_result(fast(TEXTS, batch_size=3), stock(TEXTS, batch_size=3))
    computes_padding(fast)


def test_a_mask_token_that_is_padding_is_read(make_model, tokenizer):
    tokenizer.mask_token = tokenizer.pad_token
    stock, fast = make_pipes(make_model, tokenizer, MASK)
    texts = [text.replace("[MASK]", "[PAD]") for text in TEXTS]
    assert_same_result(fast(texts, batch_size=3), stock(texts, batch_size=3))
    computes_padding(fast)


def test_a_pad_token_in_a_text_is_read(make_model, tokenizer):
    stock, fast = make_pipes(make_model, tokenizer, TOKENS)
    texts = [text.replace("[MASK]", "[PAD]") for text in TEXTS]
    assert_same_result(fast(texts, batch_size=3), stock(texts, batch_size=3))
    drops_padding(fast)


# ---- Who asks for less than a result.


def batch_of(pipe: Any) -> dict[str, Any]:
    """A padded batch, as it is given to ``forward``."""
    batch = dict(
        pipe.tokenizer(TEXTS, return_tensors="pt", padding=True, return_special_tokens_mask=pipe.task == TOKENS)
    )
    return {**batch, "sentence": None, "is_last": True} if pipe.task == TOKENS else batch


@pytest.mark.parametrize("name", ["forward", "_forward", "model"])
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a generator that is read"])
@pytest.mark.parametrize("task", TASKS)
def test_the_model_s_own_outputs_hold_padding(make_model, tokenizer, task, inside, name):
    stock, fast = make_pipes(make_model, tokenizer, task)

    def ask(pipe: Any) -> Tensor:
        batch = batch_of(pipe)
        if name == "model":
            batch = {key: batch[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
            return pipe.model(**batch).logits.detach()
        return getattr(pipe, name)(batch)["logits"].detach()

    def texts(pipe: Any, found: list[Tensor]) -> Any:
        for text in TEXTS:
            found.append(ask(pipe))
            yield text

    expected = ask(stock)
    found = [ask(fast)]
    if inside:
        list(fast(texts(fast, found), batch_size=3))
        drops_padding(fast)
    for logits in found:
        assert_close(logits, expected, TOLERANCES[torch.float32].model)
