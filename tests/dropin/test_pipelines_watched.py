"""Whoever can see padding inside of a pipeline's model, sees what stock transformers computes there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn

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
