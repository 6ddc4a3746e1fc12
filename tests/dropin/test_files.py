"""Files: bertfast saves what stock would have saved, and each loads the other's."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from parity.heads import CLASSES, call_inputs
from tolerances import assert_same_output

import bertfast
from dropin.helpers import attention, counted, encoder_of, scale_weights


@pytest.mark.parametrize("class_name", CLASSES)
def test_state_dicts_and_files_are_equal(make_pair, batch, tmp_path, class_name):
    pair = make_pair(class_name)
    pair.check(**call_inputs(class_name, batch))
    stock, fast = pair.stock.state_dict(), pair.fast.state_dict()
    assert list(fast) == list(stock)
    for name, value in stock.items():
        assert torch.equal(fast[name], value), name

    for model, folder in ((pair.stock, "stock"), (pair.fast, "fast")):
        model.save_pretrained(tmp_path / folder)
        torch.save(model.state_dict(), tmp_path / folder / "state.pt")
    assert _contents(tmp_path / "fast") == _contents(tmp_path / "stock")
    assert f'"{class_name}"' in (tmp_path / "fast" / "config.json").read_text()


def _contents(folder: Path) -> dict[str, Any]:
    """Bytes by file name; a torch file holds addresses, so its tensors are compared by value."""
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    state = torch.load(io.BytesIO(files.pop("state.pt")))
    return {**files, "state.pt": {name: value.tolist() for name, value in state.items()}}


def test_safetensors_takes_the_state_dict(pair, batch, tmp_path):
    pair.check(**batch)
    for model, name in ((pair.stock, "stock"), (pair.fast, "fast")):
        safetensors.torch.save_file(model.state_dict(), tmp_path / name)
    assert (tmp_path / "fast").read_bytes() == (tmp_path / "stock").read_bytes()


def test_safetensors_saves_and_loads_the_model(pair, batch, tmp_path):
    before = pair.check(**batch)
    for model, name in ((pair.stock, "stock"), (pair.fast, "fast")):
        safetensors.torch.save_model(model, tmp_path / name)
        scale_weights(model)
    assert (tmp_path / "fast").read_bytes() == (tmp_path / "stock").read_bytes()
    pair.check(**batch)
    for model in (pair.stock, pair.fast):
        safetensors.torch.load_model(model, tmp_path / "stock")
    assert_same_output(pair.check(**batch), before, pair.bound)


@pytest.mark.parametrize("class_name", CLASSES)
def test_files_load_both_ways(make_pair, batch, tmp_path, class_name):
    pair = make_pair(class_name)
    inputs = call_inputs(class_name, batch)
    before = pair.check(**inputs)
    pair.stock.save_pretrained(tmp_path / "stock")
    pair.fast.save_pretrained(tmp_path / "fast")
    loaded = type(pair)(
        getattr(transformers, class_name).from_pretrained(tmp_path / "fast").eval(),
        getattr(bertfast, class_name).from_pretrained(tmp_path / "stock").eval(),
    )
    assert type(loaded.stock) is getattr(transformers, class_name)
    assert type(loaded.fast) is getattr(bertfast, class_name)
    assert type(encoder_of(loaded.fast)) is bertfast.BertModel
    assert_same_output(loaded.check(**inputs), before, pair.bound)


def test_from_pretrained_passes_its_arguments(make_pair, batch, tmp_path):
    make_pair("BertForSequenceClassification").stock.save_pretrained(tmp_path)
    options = {"torch_dtype": torch.float64, "num_labels": 5, "ignore_mismatched_sizes": True}
    model, info = bertfast.BertForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True, **options)
    assert model.dtype == torch.float64
    assert model.num_labels == 5
    assert not model.training
    assert len(info["mismatched_keys"]) == 2
    with counted() as calls:
        assert model(**batch).logits.shape == (5, 5)
    assert calls == {"fast": 1}


def test_the_base_model_loads_from_a_head_and_back(make_pair, batch, tmp_path):
    pair = make_pair("BertForSequenceClassification")
    pair.fast.save_pretrained(tmp_path / "head")
    base = type(pair)(
        transformers.BertModel.from_pretrained(tmp_path / "head"),
        bertfast.BertModel.from_pretrained(tmp_path / "head"),
    )
    base.check(**batch)
    base.fast.save_pretrained(tmp_path / "base")
    head = bertfast.BertForSequenceClassification.from_pretrained(tmp_path / "base")
    assert torch.equal(attention(head).query.weight, attention(pair.stock).query.weight)
