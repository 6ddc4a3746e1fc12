"""The check before each call: it notices every kind of change, and costs next to nothing."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from dropin.helpers import attention, layer
from torch import nn

import bertfast
from bertfast import engines, guard
from bertfast.families import Refused
from bertfast.families.bert import parameter_names
from bertfast.weights import build_weights

CHANGES: dict[str, Callable[[Any], object]] = {
    "a module replaced": lambda m: setattr(layer(m).output, "dense", nn.Linear(80, 48)),
    "a module removed": lambda m: delattr(layer(m).output, "dropout"),
    "a layer appended": lambda m: m.encoder.layer.append(layer(m)),
    "a layer removed": lambda m: m.encoder.layer.__delitem__(1),
    "a class changed": lambda m: setattr(layer(m).output.dense, "__class__", type("Other", (nn.Linear,), {})),
    "a parameter replaced": lambda m: setattr(layer(m).output.dense, "bias", nn.Parameter(torch.zeros(48))),
    "a parameter removed": lambda m: setattr(layer(m).output.dense, "bias", None),
    "a parameter's data replaced": lambda m: setattr(layer(m).output.dense.bias, "data", torch.zeros(48)),
    "a parameter's data transposed": lambda m: setattr(
        attention(m).query.weight, "data", attention(m).query.weight.data.t()
    ),
    "a parameter's dtype changed": lambda m: layer(m).output.dense.double(),
    "the dtype changed": lambda m: m.bfloat16(),
    "a forward hook": lambda m: layer(m).register_forward_hook(lambda *_: None),
    "a forward pre-hook": lambda m: layer(m).register_forward_pre_hook(lambda *_: None),
    "a backward hook": lambda m: layer(m).register_full_backward_hook(lambda *_: None),
    "a backward pre-hook": lambda m: layer(m).register_full_backward_pre_hook(lambda *_: None),
    "a forward of its own": lambda m: setattr(layer(m).output.dense, "forward", lambda x: x),
    "another eps": lambda m: setattr(layer(m).output.LayerNorm, "eps", 0.5),
    "another number of heads": lambda m: setattr(attention(m), "num_attention_heads", 2),
    "another head size": lambda m: setattr(attention(m), "attention_head_size", 6),
    "another max_norm": lambda m: setattr(m.embeddings.word_embeddings, "max_norm", 1.0),
    "a buffer replaced": lambda m: setattr(m.embeddings, "position_ids", torch.zeros(1, 64, dtype=torch.long)),
    "a buffer edited": lambda m: m.embeddings.position_ids.add_(1),
    "a buffer edited behind torch's back": lambda m: m.embeddings.position_ids.data.add_(1),
    "a norm's weight expanded": lambda m: setattr(
        layer(m).output.LayerNorm.weight, "data", layer(m).output.LayerNorm.weight.data[:1].expand(48)
    ),
    "a weight negated when it is read": lambda m: setattr(
        layer(m).output.dense.weight, "data", torch._neg_view(layer(m).output.dense.weight.data)
    ),
    "rows of a table cut off": lambda m: setattr(
        m.embeddings.word_embeddings.weight, "data", m.embeddings.word_embeddings.weight.data[:7]
    ),
    "another config": lambda m: setattr(m, "config", copy.deepcopy(m.config)),
    "a method replaced": lambda m: setattr(layer(m), "feed_forward_chunk", lambda x: x),
    "an activation exchanged": lambda m: setattr(layer(m).intermediate, "intermediate_act_fn", nn.ReLU()),
    "a buffer's data replaced": lambda m: setattr(m.embeddings.position_ids, "data", torch.zeros(1, 64).long()),
}


@pytest.fixture
def model(make_config: Callable[..., Any]) -> Any:
    """A ``BertModel`` of two layers, 48 wide."""
    return bertfast.BertModel(make_config()).eval()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_snapshot_notices(model, change):
    _, snapshot = guard.inspect_model(model)
    assert snapshot.holds()
    change(model)
    assert not snapshot.holds()


UNCHANGED: dict[str, Callable[[Any], object]] = {
    "a call": lambda m: m(torch.tensor([[5, 6]])),
    "a parameter edited in place": lambda m: layer(m).output.dense.weight.data.mul_(2),
    "requires_grad": lambda m: m.requires_grad_(False),
    "a gradient": lambda m: m(torch.tensor([[5, 6]])).last_hidden_state.sum().backward(),
    "training mode": lambda m: m.train(),
    "a hook on the model": lambda m: m.register_forward_hook(lambda *_: None),
    "another pooler": lambda m: setattr(m.pooler, "dense", nn.Linear(48, 48)),
    "state_dict": lambda m: m.load_state_dict(m.state_dict()),
}


@pytest.mark.parametrize("change", UNCHANGED.values(), ids=UNCHANGED)
def test_a_snapshot_outlives(model, change):
    """What does not touch the encoder's parts must not make it prepare the weights again."""
    model(torch.tensor([[5, 6]]))
    _, snapshot = guard.inspect_model(model)
    change(model)
    assert snapshot.holds()


def test_a_snapshot_knows_training_mode(model):
    _, snapshot = guard.inspect_model(model)
    assert not snapshot.training()
    layer(model).output.dropout.train()
    assert snapshot.training()


def test_weights_are_prepared_once(model, monkeypatch):
    from bertfast import prepared as module

    prepared: list[int] = []
    build = module.build_weights
    monkeypatch.setattr(module, "build_weights", lambda *args: prepared.append(1) or build(*args))
    for length in (2, 5, 2):
        model(torch.ones(1, length, dtype=torch.long))
    assert prepared == [1]
    layer(model).output.dense.weight.data = torch.zeros(48, 80)
    model(torch.ones(1, 2, dtype=torch.long))
    assert prepared == [1, 1]


def _median_us(function: Callable[[], object], calls: int = 200) -> float:
    times = []
    for _ in range(calls):
        start = time.thread_time_ns()
        function()
        times.append(time.thread_time_ns() - start)
    return statistics.median(times) / 1e3


@pytest.mark.slow
def test_the_check_of_bert_base_takes_less_than_100_us():
    """The bound stays; noise of a busy machine may cost a few attempts."""
    import transformers

    # All of BERT-base but most of its vocabulary, which the check does not look at.
    model = bertfast.BertModel(transformers.BertConfig(vocab_size=1000)).eval()
    inputs = {"input_ids": torch.ones(1, 8, dtype=torch.long), "attention_mask": torch.ones(1, 8, dtype=torch.long)}
    with torch.no_grad():
        model(**inputs)
    engine = engines.of(model)
    assert bertfast.explain(model).path == "fast"

    attempts = []
    for _ in range(30):
        attempts.append(_median_us(lambda: engine.admit(model, inputs)))
        if attempts[-1] < 100:
            break
        time.sleep(0.3)
    assert min(attempts) < 100, f"best median of {len(attempts)} attempts: {min(attempts):.0f} us"


def test_moving_a_model_lets_go_of_its_old_weights(model):
    """Not only at the next call: two copies of a large model may not fit."""
    model(torch.ones(1, 4, dtype=torch.long))
    assert engines.of(model).preparation.weights is not None
    model.double()
    assert engines.of(model).preparation.weights is None


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_a_weight_left_over_or_left_out_is_an_error(model, change):
    spec, snapshot = guard.inspect_model(model)
    parameters = {role: snapshot.parameters[name] for role, name in parameter_names(spec).items()}
    if change == "missing":
        del parameters["layers.1.key.bias"]
    else:
        parameters["layers.2.key.bias"] = parameters["layers.1.key.bias"]
    with pytest.raises(ValueError, match=rf"{change} \['layers.\d.key.bias'\]"):
        build_weights(spec, parameters)


def test_a_model_changed_while_it_is_looked_at_is_looked_at_again(model, monkeypatch):
    """What another thread would do between the check and the snapshot."""
    linear, make = layer(model).output.dense, guard.Snapshot
    new = nn.Parameter(torch.zeros(48, 80))

    def meddled(*args):
        linear.weight = new
        return make(*args)

    monkeypatch.setattr(guard, "Snapshot", meddled)
    _, snapshot = guard.inspect_model(model)
    assert snapshot.parameters["encoder.layer.0.output.dense.weight"] is new
    assert snapshot.holds()


def test_a_model_that_never_holds_still_is_refused(model, monkeypatch):
    make = guard.Snapshot

    def meddled(*args):
        snapshot = make(*args)
        layer(model).output.dense.weight = nn.Parameter(torch.zeros(48, 80))
        return snapshot

    monkeypatch.setattr(guard, "Snapshot", meddled)
    with pytest.raises(Refused, match="changes while"):
        guard.inspect_model(model)
