"""Adapters: peft's, and one made by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from dropin.helpers import assert_differ, layer
from torch import nn

import bertfast
from compatibility.behaviours import BOTH, FALLBACK, behaviour
from compatibility.bench import Bench, plain, same_gradients

_GROUP = "PEFT and adapters"
_CLASS = "BertForSequenceClassification"


def _peft() -> Any:
    return pytest.importorskip("peft", reason="needs peft")


def with_lora(bench: Bench, model: nn.Module, kind: str = "LoraConfig", **options: Any) -> Any:
    """The model with seeded, active adapters on queries and values."""
    peft = _peft()
    torch.manual_seed(2)
    defaults = {"task_type": "SEQ_CLS", "target_modules": ["query", "value"]}
    wrapped = peft.get_peft_model(model, getattr(peft, kind)(**{**defaults, **options})).eval()
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name or "ia3_" in name:
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
    return wrapped


def _adapted(bench: Bench, **options: Any) -> tuple[Any, Any]:
    pair = bench.pair(_CLASS)
    return with_lora(bench, pair.stock, **options), with_lora(bench, pair.fast, **options)


@behaviour(_GROUP, "LoRA, active", "all outputs", FALLBACK)
def _active(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    before = plain(batch)(pair.stock)
    stock, fast = with_lora(bench, pair.stock), with_lora(bench, pair.fast)
    assert_differ(bench.same(plain(batch), stock, fast).logits, before.logits)


@behaviour(_GROUP, "LoRA, merged (`merge_and_unload`)", "all outputs")
def _merged(bench: Bench) -> None:
    stock, fast = (model.merge_and_unload() for model in _adapted(bench))
    bench.same(plain(bench.batch()), stock, fast)


@behaviour(_GROUP, "LoRA, merged in place (`merge_adapter`) or disabled (`disable_adapter()`)", "all outputs", FALLBACK)
def _disabled(bench: Bench) -> None:
    stock, fast = _adapted(bench)
    batch = bench.batch()

    def disabled(model: Any) -> Any:
        with model.disable_adapter():
            return plain(batch)(model)

    bench.same(disabled, stock, fast)
    for model in (stock, fast):
        model.merge_adapter()
    bench.same(plain(batch), stock, fast)


@behaviour(_GROUP, "LoRA, taken off again (`unload`)", "all outputs")
def _unloaded(bench: Bench) -> None:
    stock, fast = (model.unload() for model in _adapted(bench))
    bench.same(plain(bench.batch()), stock, fast)


@behaviour(
    _GROUP, "LoRA: training, `save_pretrained`, `PeftModel.from_pretrained`, merging", "gradients, outputs", BOTH
)
def _circle(bench: Bench) -> None:
    peft = _peft()
    batch, labels = bench.batch(), torch.arange(5) % 2
    stock, fast = _adapted(bench)
    for model in (stock, fast):
        model.train()
    same_gradients(lambda model: model(**batch, labels=labels).loss, stock, fast)
    for model, name in ((stock, "stock"), (fast, "fast")):
        model.eval().save_pretrained(bench.folder / name)
    name = "adapter_model.safetensors"
    assert (bench.folder / "fast" / name).read_bytes() == (bench.folder / "stock" / name).read_bytes()
    bases = bench.pair(_CLASS)
    stock = peft.PeftModel.from_pretrained(bases.stock, bench.folder / "fast").eval()
    fast = peft.PeftModel.from_pretrained(bases.fast, bench.folder / "stock").eval()
    bench.same(plain(batch), stock, fast)
    bench.same(plain(batch), stock.merge_and_unload(), fast.merge_and_unload())


@behaviour(_GROUP, "`bertfast.accelerate(peft_model)`: active, then merged", "all outputs", BOTH)
def _accelerated(bench: Bench) -> None:
    batch = bench.batch()
    stock = with_lora(bench, bench.pair(_CLASS).stock)
    fast = bertfast.accelerate(copy.deepcopy(stock))
    bench.same(plain(batch), stock, fast)
    bench.same(plain(batch), stock.merge_and_unload(), fast.merge_and_unload())


@behaviour(_GROUP, "two LoRA adapters, `set_adapter`", "all outputs", FALLBACK)
def _two(bench: Bench) -> None:
    peft, batch = _peft(), bench.batch()
    stock, fast = _adapted(bench)
    before = plain(batch)(stock)
    for model in (stock, fast):
        torch.manual_seed(3)
        config = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["key"], init_lora_weights=False)
        model.add_adapter("second", config)
        model.set_adapter("second")
        model.eval()
    assert_differ(bench.same(plain(batch), stock, fast).logits, before.logits)


@behaviour(_GROUP, "IA3, active, then merged", "all outputs", BOTH)
def _ia3(bench: Bench) -> None:
    options = {"target_modules": ["key", "value", "output.dense"], "feedforward_modules": ["output.dense"]}
    stock, fast = _adapted(bench, kind="IA3Config", **options)
    batch = bench.batch()
    bench.same(plain(batch), stock, fast)
    bench.same(plain(batch), stock.merge_and_unload(), fast.merge_and_unload())


@behaviour(_GROUP, "prompt tuning (virtual tokens by `inputs_embeds`)", "all outputs")
def _prompt_tuning(bench: Bench) -> None:
    peft = _peft()
    pair = bench.pair(_CLASS)
    models = []
    for model in (pair.stock, pair.fast):
        torch.manual_seed(2)
        models.append(
            peft.get_peft_model(model, peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4)).eval()
        )
    batch = bench.batch()
    bench.same(plain({name: batch[name] for name in ("input_ids", "attention_mask")}), *models)


class Adapter(nn.Module):
    """A bottleneck beside a layer (Houlsby et al., 2019)."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down, self.up = nn.Linear(base.out_features, 4), nn.Linear(4, base.out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.base(x)
        return x + self.up(torch.relu(self.down(x)))


@behaviour(_GROUP, "an adapter of your own in the place of a `Linear`, put in and taken out", "all outputs", BOTH)
def _by_hand(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    before = pair.check(**batch)
    for model in (pair.stock, pair.fast):
        torch.manual_seed(1)
        layer(model).output.dense = Adapter(layer(model).output.dense).eval()
    assert_differ(bench.same(plain(batch), pair.stock, pair.fast).logits, before.logits)
    for model in (pair.stock, pair.fast):
        layer(model).output.dense = layer(model).output.dense.base
    pair.check(**batch)
