"""Copies: a model that is copied or pickled is the model that stock would have made."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from tolerances import assert_same_output
from torch import nn

import bertfast
from dropin.helpers import assert_differ, scale_weights


def _torch_save(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": _torch_save,
}


@pytest.mark.parametrize("used", ["before the first call", "later"])
@pytest.mark.parametrize("make_copy", COPIES.values(), ids=COPIES)
def test_a_copy_and_its_original_are_independent(pair, batch, backend, make_copy, used):
    if used == "later":
        pair.check(**batch)
    copies = type(pair)(make_copy(pair.stock), make_copy(pair.fast))
    assert type(copies.fast) is bertfast.BertModel
    before = copies.check(**batch)

    scale_weights(copies.stock)
    scale_weights(copies.fast)
    assert_differ(copies.check(**batch), before)
    assert_same_output(pair.check(**batch), before, pair.bound)

    scale_weights(pair.stock, 0.8)
    scale_weights(pair.fast, 0.8)
    assert_differ(pair.check(**batch), before)
    copies.check(**batch)


@pytest.mark.parametrize("make_copy", COPIES.values(), ids=COPIES)
def test_a_copy_keeps_the_options_and_not_the_counts(pair, batch, make_copy):
    bertfast.accelerate(pair.fast, pad_outputs="exact", on_fallback="raise")
    pair.check(**batch)
    duplicate = make_copy(pair.fast)
    report = bertfast.explain(duplicate)
    assert (report.pad_outputs, report.fast_calls, report.path) == ("exact", 0, "not called yet")
    with pytest.raises(bertfast.FallbackError):
        duplicate.train()(**batch)


def test_a_replica_with_other_modules_uses_them(make_pair, batch):
    """DataParallel's replicas share the original's attributes and have modules of their own."""
    pair = make_pair()
    before = pair.check(**batch)
    replicas = []
    for model in (pair.stock, pair.fast):
        replica = model._replicate_for_data_parallel()
        replica.encoder = copy.deepcopy(model.encoder)
        scale_weights(replica.encoder)
        replicas.append(replica)
    with torch.no_grad():
        expected, actual = (replica(**batch) for replica in replicas)
    assert_differ(expected, before)
    assert_same_output(actual, expected, pair.bound)
    assert_same_output(pair.check(**batch), before, pair.bound)


@pytest.mark.parametrize(
    "dump", [pickle.dumps, lambda model: pickle.dumps(model.state_dict())], ids=["model", "state dict"]
)
def test_a_pickle_does_not_grow(pair, batch, dump):
    pair.check(**batch)
    assert len(dump(pair.fast)) < 1.05 * len(dump(pair.stock))
