"""Saving and loading, both ways."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from parity.heads import CLASSES, call_inputs
from tolerances import TOLERANCES

import bertfast
from compatibility.behaviours import BOTH, FALLBACK, V5, behaviour
from compatibility.bench import Bench, assert_same, plain

_GROUP = "Files"
_DTYPE = "dtype" if V5 else "torch_dtype"


def _bytes(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def _load(package: Any, folder: Path, class_name: str = "BertForSequenceClassification", **options: Any) -> Any:
    return getattr(package, class_name).from_pretrained(folder, **options).eval()


def _same_from(bench: Bench, folder: Path, bound: float = TOLERANCES[torch.float32].model, **options: Any) -> Any:
    """Loaded by both packages, the outputs are equal; returns the models."""
    stock, fast = (_load(package, folder, **options) for package in (transformers, bertfast))
    assert fast.dtype == stock.dtype
    bench.same(plain(bench.batch()), stock, fast, bound)
    return stock, fast


@behaviour(_GROUP, "`save_pretrained`, all heads", "every file, byte for byte")
def _saved(bench: Bench) -> None:
    for class_name in CLASSES:
        pair = bench.pair(class_name)
        pair.check(**call_inputs(class_name, bench.batch()))
        pair.stock.save_pretrained(bench.folder / class_name / "stock")
        pair.fast.save_pretrained(bench.folder / class_name / "fast")
        saved = _bytes(bench.folder / class_name / "fast")
        assert saved == _bytes(bench.folder / class_name / "stock")
        assert "model.safetensors" in saved


@behaviour(_GROUP, "`from_pretrained` of the other's files, all heads", "all outputs")
def _both_ways(bench: Bench) -> None:
    for class_name in CLASSES:
        pair, inputs = bench.pair(class_name), call_inputs(class_name, bench.batch())
        pair.stock.save_pretrained(bench.folder / class_name / "stock")
        pair.fast.save_pretrained(bench.folder / class_name / "fast")
        stock = _load(transformers, bench.folder / class_name / "fast", class_name)
        fast = _load(bertfast, bench.folder / class_name / "stock", class_name)
        bench.same(plain(inputs), stock, fast)


@behaviour(_GROUP, "sharded checkpoints (`max_shard_size`)", "every file, byte for byte; all outputs")
def _sharded(bench: Bench) -> None:
    pair = bench.pair("BertForSequenceClassification")
    for model, name in ((pair.stock, "stock"), (pair.fast, "fast")):
        model.save_pretrained(bench.folder / name, max_shard_size="40KB")
    assert _bytes(bench.folder / "fast") == _bytes(bench.folder / "stock")
    assert len(list((bench.folder / "fast").glob("*.safetensors"))) > 2
    _same_from(bench, bench.folder / "fast")


@behaviour(_GROUP, "half-precision checkpoints, loaded in their own dtype or another", "all outputs, dtype")
def _half(bench: Bench) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        folder = bench.folder / str(dtype)
        bench.pair("BertForSequenceClassification").fast.to(dtype).save_pretrained(folder)
        _, fast = _same_from(bench, folder, TOLERANCES[dtype].model, **{_DTYPE: "auto"})
        assert fast.dtype == dtype
        _same_from(bench, folder, **{_DTYPE: torch.float32})


@behaviour(_GROUP, "`torch.save(model.state_dict())` and `load_state_dict`", "every tensor; all outputs")
def _state_dict(bench: Bench) -> None:
    pair, batch = bench.pair("BertForSequenceClassification"), bench.batch()
    before = pair.check(**batch)
    torch.save(pair.stock.state_dict(), bench.folder / "stock.pt")
    torch.save(pair.fast.state_dict(), bench.folder / "fast.pt")
    states = {name: torch.load(bench.folder / f"{name}.pt") for name in ("stock", "fast")}
    assert_same(dict(states["fast"]), dict(states["stock"]), 0)
    other = bench.pair("BertForSequenceClassification", initializer_range=1.0)
    for model, state in ((other.stock, states["fast"]), (other.fast, states["stock"])):
        model.apply(lambda m: m.reset_parameters() if hasattr(m, "reset_parameters") else None)
        model.load_state_dict(state)
    assert_same(plain(batch)(other.fast), before)
    bench.same(plain(batch), other.stock, other.fast)


@behaviour(_GROUP, "old checkpoints: `pytorch_model.bin`, `LayerNorm.gamma` and `beta`", "all outputs")
def _old(bench: Bench) -> None:
    pair = bench.pair("BertForSequenceClassification")
    pair.fast.config.save_pretrained(bench.folder)
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in pair.fast.state_dict().items()
    }
    torch.save(renamed, bench.folder / "pytorch_model.bin")
    _, fast = _same_from(bench, bench.folder)
    assert_same(plain(bench.batch())(fast), plain(bench.batch())(pair.stock))


@behaviour(_GROUP, "a head from a base model's files, and back; `num_labels`, `ignore_mismatched_sizes`", "all outputs")
def _head_and_base(bench: Bench) -> None:
    bench.pair("BertForSequenceClassification").fast.save_pretrained(bench.folder / "head")
    _, fast = _same_from(bench, bench.folder / "head", class_name="BertModel")
    fast.save_pretrained(bench.folder / "base")
    for name, options in (("base", {}), ("head", {"ignore_mismatched_sizes": True})):
        models = []
        for package in (transformers, bertfast):
            # Both draw the same new classifier.
            torch.manual_seed(3)
            models.append(_load(package, bench.folder / name, num_labels=5, **options))
        assert bench.same(plain(bench.batch()), *models).logits.shape == (5, 5)


@behaviour(_GROUP, '`device_map="cpu"`, `"auto"`, `low_cpu_mem_usage`', "all outputs")
def _device_map(bench: Bench) -> None:
    pytest.importorskip("accelerate", reason="device_map needs accelerate")
    bench.pair("BertForSequenceClassification").stock.save_pretrained(bench.folder)
    _same_from(bench, bench.folder, device_map="cpu")
    _same_from(bench, bench.folder, device_map="auto", max_memory={"cpu": "1GB"})
    _same_from(bench, bench.folder, device_map={"": "cpu"})
    _same_from(bench, bench.folder, low_cpu_mem_usage=True)


@behaviour(_GROUP, "`device_map` with layers offloaded to disk", "all outputs", FALLBACK)
def _offload(bench: Bench) -> None:
    pytest.importorskip("accelerate", reason="device_map needs accelerate")
    bench.pair("BertForSequenceClassification").stock.save_pretrained(bench.folder / "model", max_shard_size="40KB")
    places = {"bert.embeddings": "cpu", "bert.pooler": "cpu", "classifier": "cpu", "dropout": "cpu"}
    places |= {"bert.encoder.layer.0": "cpu", "bert.encoder.layer.1": "disk"}
    models = [
        _load(package, bench.folder / "model", device_map=places, offload_folder=bench.folder / f"offload{i}")
        for i, package in enumerate((transformers, bertfast))
    ]
    bench.same(plain(bench.batch()), *models)


@behaviour(_GROUP, "`AutoModel...from_pretrained`, `from_config`", "all outputs")
def _auto(bench: Bench) -> None:
    for class_name in ("BertModel", "BertForSequenceClassification", "BertForTokenClassification", "BertForMaskedLM"):
        bench.pair(class_name).stock.save_pretrained(bench.folder / class_name)
        auto = class_name.replace("BertFor", "AutoModelFor").replace("BertModel", "AutoModel")
        _same_from(bench, bench.folder / class_name, class_name=auto)
    assert type(bertfast.AutoModel.from_config(bench.config())) is bertfast.BertModel


@behaviour(
    _GROUP, "a checkpoint in training mode, saved after `accelerate`, restored by `restore`", "all outputs", BOTH
)
def _restored(bench: Bench) -> None:
    pair, batch = bench.pair("BertForSequenceClassification"), bench.batch()
    model = bertfast.accelerate(copy.deepcopy(pair.stock))
    bench.same(plain(batch), pair.stock, model)
    bench.same(lambda m: plain(batch)(m.train()), pair.stock, model)
    model.save_pretrained(bench.folder / "fast")
    pair.stock.save_pretrained(bench.folder / "stock")
    assert _bytes(bench.folder / "fast") == _bytes(bench.folder / "stock")
    bertfast.restore(model)
    assert type(model) is transformers.BertForSequenceClassification
    bench.same(plain(batch), pair.stock, model, 0)
