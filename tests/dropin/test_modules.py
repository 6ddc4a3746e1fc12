"""Modules are never stale: a model that was put together otherwise computes what it now is."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from dropin.helpers import assert_differ, attention, layer


def _new_linear(model):
    torch.manual_seed(1)
    attention(model).value = nn.Linear(48, 48).eval()


def _new_layer(model):
    torch.manual_seed(1)
    model.encoder.layer[0] = type(layer(model))(model.config).eval()


def _new_embedding(model):
    torch.manual_seed(1)
    model.set_input_embeddings(nn.Embedding(*model.embeddings.word_embeddings.weight.shape).eval())


def _new_parameter(model):
    layer(model).output.LayerNorm.weight = nn.Parameter(torch.linspace(0.5, 2, 48))


def _appended_layer(model):
    model.encoder.layer.append(copy.deepcopy(layer(model)))
    model.config.num_hidden_layers += 1


def _removed_layer(model):
    del model.encoder.layer[-1]


def _shortened_encoder(model):
    model.encoder.layer = model.encoder.layer[:1].eval()


def _exchanged_layers(model):
    model.encoder.layer[0], model.encoder.layer[1] = model.encoder.layer[1], model.encoder.layer[0]


def _all_eps(model):
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 0.5


def _activation(model):
    for i in range(len(model.encoder.layer)):
        layer(model, i).intermediate.intermediate_act_fn = nn.ReLU().eval()


@pytest.mark.parametrize(
    "change",
    [
        _new_linear,
        _new_layer,
        _new_embedding,
        _new_parameter,
        _appended_layer,
        _removed_layer,
        _shortened_encoder,
        _exchanged_layers,
        _all_eps,
        _activation,
    ],
    ids=lambda change: change.__name__.strip("_"),
)
def test_a_usual_module_in_another_place_stays_fast(pair, batch, backend, change):
    before = pair.check(**batch)
    for model in (pair.stock, pair.fast):
        change(model)
    assert_differ(pair.check(**batch), before)


TRAINED: dict[str, Callable[[nn.Module], object]] = {
    "a new Linear": lambda m: setattr(attention(m), "value", nn.Linear(48, 48).requires_grad_(False)),
    "a new LayerNorm": lambda m: setattr(layer(m).output, "LayerNorm", nn.LayerNorm(48, eps=m.config.layer_norm_eps)),
    "a resized vocabulary": lambda m: m.resize_token_embeddings(110),
    "a shortened encoder": lambda m: setattr(m.encoder, "layer", m.encoder.layer[:1]),
}


@pytest.mark.parametrize("change", TRAINED.values(), ids=TRAINED)
def test_a_training_flag_that_changes_nothing_stays_fast(pair, batch, change):
    """New modules are in training mode. Of those that compute here, only dropout and attention care."""
    for model in (pair.stock, pair.fast):
        torch.manual_seed(1)
        change(model)
    pair.check(**batch)


@pytest.mark.parametrize("class_name", ["BertForMaskedLM", "BertForPreTraining"])
def test_tied_embeddings_stay_tied(make_pair, batch, backend, class_name):
    pair = make_pair(class_name)
    before = pair.check(**batch)
    for model in (pair.stock, pair.fast):
        with torch.no_grad():
            model.bert.embeddings.word_embeddings.weight.mul_(1.5)
    after = pair.check(**batch)
    assert_differ(after, before)

    for model in (pair.stock, pair.fast):
        torch.manual_seed(1)
        model.resize_token_embeddings(110)
        model.tie_weights()
        assert model.get_output_embeddings().weight is model.bert.embeddings.word_embeddings.weight
    batch["input_ids"][0, :4] = torch.arange(106, 110)
    assert pair.check(**batch)[0].shape[-1] == 110
