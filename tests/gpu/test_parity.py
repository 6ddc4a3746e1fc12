"""Every class in every dtype, against stock transformers on the same GPU, with and without graphs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from parity.heads import CLASSES, call_inputs
from tolerances import TOLERANCES, assert_no_further_from_truth, assert_same_output

import bertfast
from bertfast.ops.unpad_input import MASK_DTYPES

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
_EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=str)
# Beyond 64 and 128 rows the kernels of attention are others.
_LONG = (9, 200, 130, 64, 1)


def _tensors(output: Any) -> Iterator[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, dict | tuple):
        for part in output.values() if isinstance(output, dict) else output:
            yield from _tensors(part)


def _assert_same_bits(actual: Any, expected: Any) -> None:
    for a, b in zip(_tensors(actual), _tensors(expected), strict=True):
        assert torch.equal(a, b)


def _feeds(batch: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    return {"as it is": batch, "no mask": {k: v for k, v in batch.items() if k != "attention_mask"}}


@pytest.mark.parametrize("side", ["right", "left", "holed"])
@_EACH_DTYPE
@pytest.mark.parametrize("class_name", CLASSES)
@torch.no_grad()
def test_classes(class_name, dtype, side, make_config, make_pair, make_batch, to_target):
    config = make_config("gelu_new-2x2x64")
    pair = make_pair(class_name, config, dtype)
    eager = bertfast.accelerate(copy.deepcopy(pair.fast), cuda_graphs=False)
    for feed in _feeds(make_batch(config, side=side)).values():
        inputs = to_target(call_inputs(class_name, feed))
        outputs = [pair.check(**inputs) for _ in range(3)]  # as it is, recorded, replayed
        for output in (*outputs, eager(**inputs)):
            _assert_same_bits(output, outputs[0])
    assert bertfast.explain(eager).cuda_graphs == 0
    pair.check(**to_target(call_inputs(class_name, make_batch(config, side=side), labels=True)))


@_EACH_DTYPE
@pytest.mark.parametrize("class_name", CLASSES)
def test_inputs_on_the_host(class_name, dtype, make_config, make_pair, make_batch, target):
    """Stock does not take them; bertfast takes the lengths from there."""
    config = make_config("gelu-1x2x32")
    pair = make_pair(class_name, config, dtype)
    inputs = call_inputs(class_name, make_batch(config, side="right"))
    with torch.no_grad():
        expected = pair.stock(**{name: value.to(target.device) for name, value in inputs.items()})
        for _ in range(3):
            assert_same_output(pair.fast(**inputs), expected, pair.bound)
    assert bertfast.explain(pair.fast).path == "fast"


@pytest.mark.parametrize("side", ["right", "left", "holed"])
@_EACH_DTYPE
def test_encoder(dtype, side, config, make_pair, make_batch, to_target):
    """Each activation, head size and pad id; hidden states too."""
    pair = make_pair("BertModel", config, dtype)
    batch = to_target(make_batch(config, side=side))
    for _ in range(3):
        pair.check(**batch)
    pair.check(**batch, output_hidden_states=True)


@pytest.mark.parametrize("side", ["right", "holed"])
@pytest.mark.parametrize("head_size", [32, 64, 128])
@_EACH_DTYPE
def test_long_sequences(dtype, head_size, side, make_config, make_pair, make_batch, to_target):
    size = 2 * head_size
    config = make_config("gelu-1x2x32", hidden_size=size, intermediate_size=2 * size, max_position_embeddings=512)
    pair = make_pair("BertForTokenClassification", config, dtype)
    for lengths in (_LONG, (512, 30), (300,) * 9):
        pair.check(**to_target(make_batch(config, lengths, side)))


@pytest.mark.parametrize("mask_dtype", MASK_DTYPES, ids=str)
def test_mask_dtypes(mask_dtype, make_config, make_pair, make_batch, to_target):
    config = make_config("relu-3x3x5")
    batch = make_batch(config, side="holed")
    batch["attention_mask"] = batch["attention_mask"].to(mask_dtype)
    make_pair("BertModel", config, torch.float32).check(**to_target(batch))


@pytest.mark.parametrize("pad_outputs", ["exact", "zero"])
@_EACH_DTYPE
@torch.no_grad()
def test_padding(dtype, pad_outputs, make_config, make_pair, make_batch, to_target):
    config = make_config("gelu-1x2x32")
    pair = make_pair("BertModel", config, dtype, pad_outputs=pad_outputs)
    batch = to_target(make_batch(config))
    actual, expected = pair.outputs(**batch)
    padding = batch["attention_mask"] == 0
    if pad_outputs == "zero":
        assert not actual.last_hidden_state[padding].any()
        expected.last_hidden_state[padding] = 0
    assert_same_output(actual, expected, pair.bound)


@_EACH_DTYPE
def test_no_further_from_the_truth_than_stock(dtype, config, make_pair, make_batch, to_target):
    """The truth: stock in float64 on the CPU, with the weights as this dtype holds them."""
    pair = make_pair("BertModel", config, dtype)
    precise = copy.deepcopy(pair.stock).cpu().double()
    found: dict[str, list[torch.Tensor]] = {"actual": [], "stock": [], "truth": []}
    for seed in range(4):
        batch = make_batch(config, lengths=(30, 7, 21, 40, 12, 40), seed=seed)
        actual, stock = pair.outputs(**to_target(batch))
        with torch.no_grad():
            truth = precise(**batch)
        for name, output in (("actual", actual), ("stock", stock), ("truth", truth)):
            found[name].append(output.last_hidden_state.flatten().cpu())
    assert_no_further_from_truth(**{name: torch.cat(parts) for name, parts in found.items()})


@pytest.mark.parametrize("side", ["right", "holed"])
@_EACH_DTYPE
@torch.no_grad()
def test_width_of_bert_base(dtype, side, make_config, make_pair, make_batch, to_target):
    """Two layers of BERT-base: the shapes of kernels and products that people run, against float64 as well."""
    size = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 2}
    config = make_config("gelu-1x2x32", **size, max_position_embeddings=512)
    pair = make_pair("BertModel", config, dtype)
    precise = copy.deepcopy(pair.stock).cpu().double()
    batch = make_batch(config, (128, 17, 96, 200), side)
    actual, stock = pair.outputs(**to_target(batch))
    assert_same_output(actual, stock, pair.bound)
    truth = precise(**batch).last_hidden_state
    for got in (actual, stock):
        assert got.last_hidden_state.isfinite().all()
    assert_no_further_from_truth(actual.last_hidden_state.cpu(), stock.last_hidden_state.cpu(), truth)


@torch.no_grad()
def test_results_do_not_depend_on_the_batch_around_them(make_config, make_pair, make_batch, to_target):
    """The same text alone and beside others, within the bound: sums are made in other orders, values are not."""
    config = make_config("gelu_new-2x2x64")
    pair = make_pair("BertModel", config, torch.float32)
    batch = make_batch(config, (13, 4, 9))
    together = pair.fast(**to_target(batch)).last_hidden_state
    for row, length in enumerate((13, 4, 9)):
        alone = pair.fast(**to_target({name: value[row : row + 1, :length] for name, value in batch.items()}))
        assert_same_output(alone.last_hidden_state, together[row : row + 1, :length], TOLERANCES[torch.float32].model)
