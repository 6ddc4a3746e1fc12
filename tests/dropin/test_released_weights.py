"""Weights that were given up are never read: not in another model, nor by a part, a copy or a call that is running."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import bertfast
from bertfast import cpu_dense, engines
from bertfast.errors import ReleasedWeightsError
from bertfast.precision import onednn_lacks
from bertfast.released_parameter import ReleasedParameter, holds_released
from dropin.helpers import check_reduced, output_of


@pytest.fixture
def pair(make_pair, precision):
    """A stock model, and one without its original weights."""
    made = make_pair()
    bertfast.accelerate(made.fast, precision=precision, keep_original=False)
    return made


@pytest.fixture
def head(make_pair, precision):
    """The same with a head on it."""
    made = make_pair("BertForSequenceClassification")
    bertfast.accelerate(made.fast, precision=precision, keep_original=False)
    return made


@pytest.mark.parametrize("accelerated", [False, True])
def test_another_model_does_not_compute_with_a_shared_encoder(make_pair, precision, batch, accelerated):
    first, second = make_pair().fast, make_pair().stock
    second.encoder = first.encoder
    if accelerated:
        bertfast.accelerate(second)
        output_of(second, batch)
    bertfast.accelerate(first, precision=precision, keep_original=False)
    with pytest.raises(ReleasedWeightsError, match="keep_original=False"):
        output_of(second, batch)
    with pytest.raises(ReleasedWeightsError, match="keep_original=False"):
        bertfast.accelerate(second, precision=precision)


def test_another_model_keeps_a_weight_that_it_shares(make_pair, precision, batch):
    pair, second = make_pair(), make_pair().stock
    expected = output_of(pair.stock, batch).last_hidden_state
    second.load_state_dict(pair.stock.state_dict())
    for name, parameter in pair.fast.named_parameters():
        module, _, last = name.rpartition(".")
        setattr(second.get_submodule(module), last, parameter)
    bertfast.accelerate(pair.fast, precision=precision, keep_original=False)
    assert torch.equal(output_of(second, batch).last_hidden_state, expected)


_PARTS = {
    "state_dict": lambda model: model.encoder.state_dict(),
    "state_dict_of_a_layer": lambda model: model.encoder.layer[0].state_dict(keep_vars=True),
    "load": lambda model: model.encoder.load_state_dict(bertfast.BertModel(model.config).encoder.state_dict()),
    "call": lambda model: model.encoder(torch.zeros(1, 2, model.config.hidden_size)),
    "move": lambda model: model.encoder.to(torch.float64),
    "copy": lambda model: copy.deepcopy(model.encoder),
    "pickle": lambda model: pickle.dumps(model.encoder.layer[0].output),
    "data": lambda model: _weight(model).data,
    "set_data": lambda model: setattr(_weight(model), "data", torch.zeros(_weight(model).shape)),
    "numpy": lambda model: _weight(model).numpy(),
    "arithmetic": lambda model: _weight(model) + 1,
    "write": lambda model: nn.init.zeros_(_weight(model)),
}


def _weight(model):
    return model.encoder.layer[0].output.dense.weight


@pytest.mark.parametrize("use", _PARTS)
def test_parts_are_refused_and_left_as_they_are(pair, batch, all_fast, use):
    kept = {name: p.clone() for name, p in pair.fast.named_parameters() if type(p) is not ReleasedParameter}
    with pytest.raises(ReleasedWeightsError, match="keep_original=False"):
        _PARTS[use](pair.fast)
    parameters = dict(pair.fast.named_parameters())
    assert all(torch.equal(parameters[name], values) for name, values in kept.items())
    check_reduced(pair, batch, all_fast)


def test_another_model_cannot_load_them(pair, make_pair):
    other = make_pair().stock
    with pytest.raises(RuntimeError, match="keep_original=False has given it up"):
        other.load_state_dict(dict(pair.fast.named_parameters()))
    assert not any(parameter.isnan().any() for parameter in other.parameters())


def test_what_reads_no_values_works(head, batch):
    stock, fast = head.stock, head.fast
    assert (fast.num_parameters(), fast.dtype, fast.device) == (stock.num_parameters(), stock.dtype, stock.device)
    assert fast.get_memory_footprint() == stock.get_memory_footprint()
    assert "ReleasedParameter(shape=(" in repr(_weight(fast.bert))
    optimizer = torch.optim.AdamW(fast.parameters(), lr=0.1)
    fast(**batch).logits.sum().backward()
    nn.utils.clip_grad_norm_(fast.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    assert output_of(fast, batch).logits.isfinite().all()


def test_they_can_be_given_up_in_inference_mode(make_pair, precision, batch, all_fast):
    pair = make_pair()
    with torch.inference_mode():
        bertfast.accelerate(pair.fast, precision=precision, keep_original=False)
        check_reduced(pair, batch, all_fast)
    assert not any(parameter.is_inference() for parameter in pair.fast.parameters())
    pair.fast.config.my_attr = 1
    check_reduced(pair, batch, all_fast)


def _set_attention(model):
    model.set_attn_implementation("eager")


def _set_attribute(model):
    model.config.my_attr = 1


def _watch_the_pooler(model):
    model.pooler.register_forward_hook(lambda *call: None)


def _freeze(model):
    model.requires_grad_(False)


@pytest.mark.parametrize("change", [_set_attention, _set_attribute, _watch_the_pooler, _freeze])
def test_changes_that_leave_the_copies_right(pair, batch, all_fast, change):
    change(pair.fast)
    for _ in range(2):
        check_reduced(pair, batch, all_fast)


def test_what_has_changed_is_named(pair, batch, all_fast):
    handle = pair.fast.encoder.layer[0].register_forward_hook(lambda *call: None)
    with pytest.raises(ReleasedWeightsError, match=r"a hook on encoder\.layer\.0"):
        output_of(pair.fast, batch)
    handle.remove()
    check_reduced(pair, batch, all_fast)
    table = pair.fast.embeddings.word_embeddings
    table.weight.data = table.weight.data * 2
    with pytest.raises(ReleasedWeightsError, match=r"embeddings\.word_embeddings\.weight changed"):
        output_of(pair.fast, batch)


def test_what_was_not_given_up_is_not_given_up_later(make_pair, precision, batch, monkeypatch):
    """A copy is no order: only those who ask for it lose weights, where they ask."""
    model = make_pair().fast
    with monkeypatch.context() as slow_cpu:
        slow_cpu.setattr(torch.cpu, "get_capabilities", dict)
        slow_cpu.setattr(cpu_dense, "serves", lambda asked: False)
        onednn_lacks.cache_clear()
        bertfast.accelerate(model, precision=precision, keep_original=False)
    onednn_lacks.cache_clear()
    for made in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        output_of(made.to("cpu"), batch)
        assert not holds_released(made)
        made.encoder.layer[0].register_forward_hook(lambda *call: None)
        assert output_of(made, batch).last_hidden_state.isfinite().all()
        made.train()(**batch)
        made.load_state_dict(made.state_dict())


def test_a_call_that_is_running_keeps_what_it_reads(make_pair, precision, batch):
    """It has asked for the engine, or has been given the weights, before they are given up."""
    model = make_pair().fast
    expected = output_of(model, batch).last_hidden_state
    engine = engines.of(model)
    read = engine.preparation.of(model).weights.layers[0].dense()[0]
    rows = torch.ones(3, model.config.hidden_size)
    before = read(rows)
    bertfast.accelerate(model, precision=precision, keep_original=False)
    assert torch.equal(read(rows), before)
    assert engine.preparation.of(model) is engines.of(model).preparation.last
    with torch.no_grad():
        late = engine.forward(model, type(model).forward, batch, bertfast.options.Reads.EVERYTHING)
    assert late.last_hidden_state.shape == expected.shape
    assert late.last_hidden_state.isfinite().all()
