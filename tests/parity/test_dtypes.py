"""Every dtype and every linear backend: as close to stock as the table allows, and as close to the truth as stock."""

from __future__ import annotations

import copy

import pytest
import torch
from tolerances import assert_no_further_from_truth

import bertfast
from bertfast.linear import select_cpu_linear
from parity.heads import CLASSES, call_inputs

_DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("side", ["right", "holed"])
@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
def test_encoder(dtype, side, config, shared_pair, make_batch):
    pair = shared_pair("BertModel", config, dtype)
    output = pair.check(**make_batch(config, side=side), output_hidden_states=True)
    assert output.last_hidden_state.dtype == dtype
    assert bertfast.explain(pair.fast).dtype == str(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("class_name", CLASSES)
def test_classes(class_name, dtype, make_config, shared_pair, make_batch):
    config = make_config("gelu_new-2x2x64")
    shared_pair(class_name, config, dtype).check(**call_inputs(class_name, make_batch(config)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_no_further_from_the_truth_than_stock(dtype, config, shared_pair, make_batch):
    """The truth: stock in float64, with the weights as this dtype holds them."""
    pair = shared_pair("BertModel", config, dtype)
    precise = copy.deepcopy(pair.stock).double()
    found = {"actual": [], "stock": [], "truth": []}
    for seed in range(4):
        batch = make_batch(config, lengths=(30, 7, 21, 40, 12, 40), seed=seed)
        actual, stock = pair.outputs(**batch)
        with torch.no_grad():
            truth = precise(**batch)
        for name, output in (("actual", actual), ("stock", stock), ("truth", truth)):
            found[name].append(output.last_hidden_state.flatten())
    assert_no_further_from_truth(**{name: torch.cat(parts) for name, parts in found.items()})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("backend", ["auto", "blas", "onednn", "portable"])
def test_linear_backends(backend, dtype, config, stock_and_fast, make_batch, monkeypatch):
    """The choice depends on the machine and on the number of rows; each must do everywhere."""
    monkeypatch.setenv("BERTFAST_CPU_LINEAR", backend)
    pair = stock_and_fast("BertForPreTraining", config, dtype)
    for lengths in ((9, 4, 13), (40, 64, 50, 33)):
        for side in ("right", "holed"):
            pair.check(**make_batch(config, lengths, side), output_hidden_states=True)
    chosen = bertfast.explain(pair.fast).linear_backend
    assert chosen == select_cpu_linear(dtype).name
    if backend in ("blas", "portable"):
        assert chosen == backend


def test_long_batches_run_in_blocks(make_config, shared_pair, make_batch):
    # More rows than one step of the feed-forward network takes.
    config = make_config("relu-3x3x5")
    lengths = [64, 1, 33] * 14
    assert sum(lengths) > 1024
    shared_pair("BertForTokenClassification", config).check(**make_batch(config, lengths))
