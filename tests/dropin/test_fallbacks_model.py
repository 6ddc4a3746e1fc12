"""A model that is more than an encoder in eval mode runs stock: same result, counted, explained, logged once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager

import pytest
import transformers
from tolerances import assert_same_output
from torch import nn
from transformers.models.bert import modeling_bert

from dropin.helpers import (
    V5,
    assert_differ,
    assert_falls_back,
    counted,
    layer,
    needs_v5,
    plain_call,
)


def _values_only(module, query, key, value, attention_mask, **kwargs):
    """An attention function that does not attend."""
    return value.transpose(1, 2), None


def register_values_only():
    """Make ``_values_only`` known to transformers 5 by its name."""
    if V5:
        transformers.AttentionInterface.register("values_only", _values_only)


def _train(model):
    model.train()


def _train_one_dropout(model):
    layer(model).output.dropout.train()


def _hook(model):
    layer(model).register_forward_hook(lambda module, args, output: output)


def _pre_hook(model):
    layer(model).output.dense.register_forward_pre_hook(lambda module, args: (args[0] * 2,))


def _backward_hook(model):
    layer(model).register_full_backward_hook(lambda module, grads, grad_outputs: None)


def _instance_forward(model):
    dense = layer(model).output.dense
    dense.forward = lambda x: nn.functional.linear(x, -dense.weight, dense.bias)


class _Marked(nn.Parameter):
    """A parameter that some library keeps its notes on."""


def _parameter_subclass(model):
    layer(model).output.dense.weight = _Marked(layer(model).output.dense.weight.detach())


MODELS: dict[str, tuple[Callable[[nn.Module], None], str]] = {
    "training mode": (_train, "training mode"),
    "training mode of a submodule": (_train_one_dropout, "training mode of a submodule"),
    "a forward hook on a submodule": (_hook, "a hook on encoder.layer.0"),
    "a forward pre-hook on a submodule": (_pre_hook, "a hook on encoder.layer.0.output.dense"),
    "a backward hook on a submodule": (_backward_hook, "a hook on encoder.layer.0"),
    "an instance-level forward": (_instance_forward, "encoder.layer.0.output.dense.forward"),
    "a subclass of Parameter": (_parameter_subclass, "_Marked"),
}


@pytest.mark.parametrize("when", ["before the first call", "later"])
@pytest.mark.parametrize(("change", "reason"), MODELS.values(), ids=MODELS)
def test_a_model_that_is_not_plain(pair, batch, caplog, change, reason, when):
    if when == "later":
        pair.check(**batch)
    for model in (pair.stock, pair.fast):
        change(model)
    assert_falls_back(pair, plain_call(batch), reason, caplog)


CONFIGS = {
    "an unknown activation": ({"hidden_act": "silu"}, "SiLU"),
    "a decoder": ({"is_decoder": True}, "decoder"),
    "cross-attention": ({"is_decoder": True, "add_cross_attention": True}, "decoder"),
    "attentions wanted": ({"output_attentions": True, "attn_implementation": "eager"}, "output_attentions"),
    "relative positions": ({"position_embedding_type": "relative_key"}, "relative_key|distance_embedding"),
    "causal by config": ({"is_causal": True}, "is_causal"),
}


@pytest.mark.parametrize(("changes", "reason"), CONFIGS.values(), ids=CONFIGS)
def test_a_config_that_asks_for_more(make_pair, batch, caplog, changes, reason):
    if V5 and "position_embedding_type" in changes:
        pytest.skip("transformers 5 ignores position_embedding_type")
    pair = make_pair(**changes)
    assert_falls_back(pair, plain_call(batch, use_cache=False), reason, caplog)


LATER = {
    "a decoder": ("is_decoder", True),
    "attentions wanted": ("output_attentions", True),
    "causal": pytest.param("is_causal", True, marks=needs_v5),
    "another attention": pytest.param("_attn_implementation", "values_only", marks=needs_v5),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [p if hasattr(p, "values") else pytest.param(*p, id=key) for key, p in LATER.items()],
)
def test_a_config_that_changes_later(make_pair, batch, caplog, name, value):
    register_values_only()
    pair = make_pair(attn_implementation="eager")
    pair.check(**batch)
    for model in (pair.stock, pair.fast):
        setattr(model.config, name, value)
    reason = "values_only" if name == "_attn_implementation" else name.removeprefix("is_")
    assert_falls_back(pair, plain_call(batch, use_cache=False), reason, caplog)


def test_hidden_states_wanted_by_the_config_later(pair, batch):
    pair.check(**batch)
    for model in (pair.stock, pair.fast):
        model.config.output_hidden_states = True
    assert len(pair.check(**batch).hidden_states) == 3


def test_a_hook_of_accelerate_is_seen(pair, batch):
    """What accelerate's offloading does: the old forward kept aside, a new one put on the instance."""
    pair.check(**batch)
    calls = []
    dense = layer(pair.fast).output.dense
    dense._old_forward = dense.forward
    dense.forward = lambda *args: calls.append(1) or dense._old_forward(*args)
    assert_same_output(plain_call(batch)(pair.fast), plain_call(batch)(pair.stock), pair.bound)
    assert calls == [1]


def test_a_hook_that_is_removed_makes_the_model_fast_again(pair, batch):
    handle = layer(pair.fast).register_forward_hook(lambda *_: None)
    with counted() as calls:
        pair.fast(**batch)
    assert calls["stock"] == 1
    handle.remove()
    pair.check(**batch)


@needs_v5
def test_a_custom_attention_function(make_pair, batch, caplog):
    register_values_only()
    pair = make_pair()
    before = pair.check(**batch)
    for model in (pair.stock, pair.fast):
        model.set_attn_implementation("values_only")
    assert_differ(plain_call(batch)(pair.stock), before)
    assert_falls_back(pair, plain_call(batch), "values_only", caplog)


@contextmanager
def _other_sdpa():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(transformers.AttentionInterface._global_mapping, "sdpa", _values_only)
        yield


@contextmanager
def _other_class_forward():
    stock = modeling_bert.BertIntermediate.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_bert.BertIntermediate, "forward", lambda self, x: -stock(self, x))
        yield


PATCHES = {
    "sdpa registered anew": pytest.param(_other_sdpa, marks=needs_v5),
    "a class of the model patched": _other_class_forward,
}


@pytest.mark.parametrize("patched", PATCHES.values(), ids=PATCHES)
def test_transformers_patched_by_another_library(pair, batch, patched):
    before = pair.check(**batch)
    with patched():
        expected, actual = plain_call(batch)(pair.stock), plain_call(batch)(pair.fast)
    assert_differ(expected, before)
    assert_same_output(actual, expected, pair.bound)
