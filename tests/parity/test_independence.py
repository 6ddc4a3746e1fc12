"""A text's result depends on neither the padding beside it nor the texts it shares a batch with."""

from __future__ import annotations

import pytest
import torch
from tolerances import relative_error

_CLASSES = ["BertModel", "BertForSequenceClassification"]


def _visible(output):
    return output.logits if "logits" in output else output.last_hidden_state


def _run(pair, batch, all_fast):
    with torch.no_grad(), all_fast(pair.fast):
        return _visible(pair.fast(**batch))


@pytest.mark.parametrize("pad_outputs", ["auto", "zero"])
@pytest.mark.parametrize("class_name", _CLASSES)
def test_pad_length(class_name, pad_outputs, config, shared_pair, make_batch, all_fast):
    pair = shared_pair(class_name, config, pad_outputs=pad_outputs)
    batch = make_batch(config)
    short = _run(pair, batch, all_fast)
    rows, columns = batch["input_ids"].shape
    seen = batch["attention_mask"].bool()
    for extra in (1, 3, 40):
        longer = {name: torch.cat([v, v.new_zeros(rows, extra)], 1) for name, v in batch.items()}
        longer["input_ids"][:, columns:] = config.pad_token_id
        long = _run(pair, longer, all_fast)
        if class_name == "BertModel":
            assert relative_error(long[:, :columns][seen], short[seen]) <= pair.bound
        else:
            assert relative_error(long, short) <= pair.bound


@pytest.mark.parametrize("class_name", _CLASSES)
def test_batch_companions(class_name, config, shared_pair, make_batch, all_fast):
    pair = shared_pair(class_name, config)
    batch = make_batch(config)
    together = _run(pair, batch, all_fast)
    order = torch.tensor([3, 0, 4, 2, 1])
    reordered = _run(pair, {name: value[order] for name, value in batch.items()}, all_fast)
    assert relative_error(reordered, together[order]) <= pair.bound
    for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        alone = _run(pair, {name: v[row : row + 1, :length] for name, v in batch.items()}, all_fast)
        kept = together[row : row + 1] if class_name != "BertModel" else together[row : row + 1, :length]
        assert relative_error(kept, alone) <= pair.bound


def test_repeated_calls_give_the_same_bits(config, shared_pair, make_batch, all_fast):
    # Memory is reused between layers and calls: an output must never be a view of it.
    pair = shared_pair("BertModel", config)
    batch, other = make_batch(config), make_batch(config, lengths=(13, 13, 2), seed=1)
    first = _run(pair, batch, all_fast)
    kept = first.clone()
    _run(pair, other, all_fast)
    assert torch.equal(first, kept)
    assert torch.equal(_run(pair, batch, all_fast), kept)
