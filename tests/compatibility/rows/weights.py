"""What is done to a model before it is called."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from dropin.helpers import assert_differ, attention, encoder_of, layer
from tolerances import TOLERANCES
from torch import nn
from torch.nn.utils import parametrize, prune

import bertfast
from compatibility.behaviours import ABSENT, FALLBACK, FAST, REFUSED, NotInThisVersion, behaviour
from compatibility.bench import Bench, assert_same, plain

_GROUP = "Models and their weights"


def _changed(
    name: str,
    change: Callable[[Any], object],
    path: str = FAST,
    class_name: str = "BertModel",
    visible: bool = True,
    **options: Any,
) -> None:
    """A row for a model that is called, changed and called again. visible: the change shows in the outputs."""

    @behaviour(_GROUP, name, "all outputs", path)
    def run(bench: Bench) -> None:
        pair, batch = bench.pair(class_name, **options), bench.batch()
        with torch.no_grad():
            before = pair.stock(**batch)
        if path != FALLBACK:
            pair.check(**batch)
        for model in (pair.stock, pair.fast):
            torch.manual_seed(1)
            change(model)
        after = bench.same(plain(batch), pair.stock, pair.fast)
        if visible:
            assert_differ(after, before)


@torch.no_grad()
def _edit(model: nn.Module) -> None:
    layer(model).output.dense.weight.mul_(1.5)
    attention(model).query.weight.data.mul_(1.5)
    encoder_of(model).embeddings.word_embeddings.weight.data = 1.5 * model.get_input_embeddings().weight


def _new_linear(model: nn.Module) -> None:
    attention(model).value = nn.Linear(48, 48)


class Negated(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -super().forward(x)


class _Doubled(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


def _prune(model: nn.Module) -> None:
    prune.l1_unstructured(layer(model).output.dense, "weight", amount=0.5)


def _prune_for_good(model: nn.Module) -> None:
    _prune(model)
    prune.remove(layer(model).output.dense, "weight")


_changed("weights edited in place, `.data` too", _edit)
_changed(
    "`load_state_dict`", lambda m: m.load_state_dict({n: 1.1 * v for n, v in m.state_dict().items()}, strict=False)
)
_changed("`chunk_size_feed_forward`", lambda m: None, visible=False, chunk_size_feed_forward=1)
_changed("`resize_token_embeddings`", lambda m: m.resize_token_embeddings(110), visible=False)
_changed("tied weights", _edit, class_name="BertForMaskedLM")
_changed("tied weights, resized", lambda m: m.resize_token_embeddings(110), class_name="BertForMaskedLM")
_changed("a `Linear` or another usual module replaced", _new_linear)
_changed("layers removed", lambda m: m.encoder.layer.__delitem__(-1))
_changed("a subclass of `Linear` put in", lambda m: setattr(attention(m), "value", Negated(48, 48)), FALLBACK)
_changed("`torch.nn.utils.prune`", _prune, FALLBACK)
_changed("`torch.nn.utils.prune`, made permanent", _prune_for_good)
_changed(
    "`torch.nn.utils.parametrize`",
    lambda m: parametrize.register_parametrization(layer(m).output.dense, "weight", _Doubled()),
    FALLBACK,
)


@behaviour(_GROUP, "`prune_heads`", "all outputs", ABSENT, v4=FALLBACK)
def _prune_heads(bench: Bench) -> None:
    pair = bench.pair()
    if not hasattr(pair.stock, "prune_heads"):
        raise NotInThisVersion
    for model in (pair.stock, pair.fast):
        model.prune_heads({0: [1], 1: [0, 2]})
    bench.same(plain(bench.batch()), pair.stock, pair.fast)


@behaviour(_GROUP, "`quantize_dynamic`", "all outputs", FALLBACK)
def _quantize(bench: Bench) -> None:
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this torch has no quantized engine")
    pair = bench.pair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = [
            torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
            for model in (pair.stock, pair.fast)
        ]
        bench.same(plain(bench.batch()), *quantized)


def _in_dtype(name: str, convert: Callable[[Any], Any], dtype: torch.dtype) -> None:
    @behaviour(_GROUP, name, "all outputs, dtype")
    def run(bench: Bench) -> None:
        pair, batch = bench.pair("BertForSequenceClassification"), bench.batch()
        pair.check(**batch)
        stock, fast = convert(pair.stock), convert(pair.fast)
        assert fast.dtype == dtype
        bench.same(plain(batch), stock, fast, TOLERANCES[dtype].model)


_in_dtype("`.half()`", lambda m: m.half(), torch.float16)
_in_dtype("`.bfloat16()`", lambda m: m.bfloat16(), torch.bfloat16)
_in_dtype("`.to(torch.float64)`", lambda m: m.to(torch.float64), torch.float64)
_in_dtype("`.half().float()`", lambda m: m.half().float(), torch.float32)
_in_dtype('`.to("cpu")`, `.cpu()`', lambda m: m.to("cpu").cpu(), torch.float32)


@behaviour(_GROUP, "one layer in another dtype than the rest", "error", REFUSED)
def _mixed(bench: Bench) -> None:
    pair = bench.pair()
    for model in (pair.stock, pair.fast):
        layer(model).output.dense.bfloat16()
    bench.refused(plain(bench.batch()), pair.stock, pair.fast)


def through_torch_save(model: nn.Module) -> nn.Module:
    """A copy, pickled by torch."""
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def _copied(name: str, make: Callable[[Any], Any]) -> None:
    @behaviour(_GROUP, name, "all outputs; the original is untouched")
    def run(bench: Bench) -> None:
        pair, batch = bench.pair("BertForSequenceClassification"), bench.batch()
        before = pair.check(**batch)
        copies = type(pair)(make(pair.stock), make(pair.fast))
        assert type(copies.fast) is type(pair.fast)
        for model in (copies.stock, copies.fast):
            _edit(model)
        assert_differ(copies.check(**batch), before)
        assert_same(plain(batch)(pair.fast), before)


_copied("`copy.deepcopy`", copy.deepcopy)
_copied("pickle", lambda model: pickle.loads(pickle.dumps(model)))
_copied("`torch.save(model)`", through_torch_save)


@behaviour(_GROUP, "subclasses of bertfast's heads", "all outputs")
def _subclassed_head(bench: Bench) -> None:
    outputs = []
    for package in (transformers, bertfast):

        class Head(package.BertForSequenceClassification):
            """A user's own loss or logits around a head."""

            def forward(self, *args: Any, **kwargs: Any) -> Any:
                return 2 * super().forward(*args, **kwargs).logits

        model = Head(bench.config()).eval()
        model.load_state_dict(bench.pair("BertForSequenceClassification").stock.state_dict())
        outputs.append(plain(bench.batch())(model))
    bench.same(lambda output: output, *outputs)


@behaviour(_GROUP, "your own subclass of `BertModel`", "all outputs", FALLBACK)
def _subclassed_encoder(bench: Bench) -> None:
    pair = bench.pair()
    pair.stock.__class__ = type("Mine", (transformers.BertModel,), {})
    pair.fast.__class__ = type("Mine", (bertfast.BertModel,), {})
    bench.same(plain(bench.batch()), pair.stock, pair.fast)


@behaviour(_GROUP, "your own `BertPreTrainedModel` with `self.bert = BertModel(config)`", "loss, logits")
def _own_pretrained(bench: Bench) -> None:
    bench.pair("BertForSequenceClassification").stock.save_pretrained(bench.folder)
    models = []
    for package in (transformers, bertfast):

        class Joint(package.BertPreTrainedModel):
            """Two heads on one encoder, as in joint intent and slot models."""

            def __init__(self, config: Any, bert: type = package.BertModel) -> None:
                super().__init__(config)
                self.bert = bert(config)
                self.intent, self.slots = nn.Linear(config.hidden_size, 3), nn.Linear(config.hidden_size, 4)
                self.post_init()

            def forward(self, labels: torch.Tensor, **inputs: Any) -> Any:
                output = self.bert(**inputs)
                intent, slots = self.intent(output.pooler_output), self.slots(output.last_hidden_state)
                return nn.functional.cross_entropy(intent, labels), intent, slots

        torch.manual_seed(1)
        models.append(Joint.from_pretrained(bench.folder).eval())
    models[1].load_state_dict(models[0].state_dict())
    bench.same(plain(bench.batch(), labels=torch.arange(5) % 3), *models)


@behaviour(_GROUP, "two heads that share one encoder", "all outputs of both")
def _shared_encoder(bench: Bench) -> None:
    classes = ("BertForSequenceClassification", "BertForTokenClassification")
    pairs, batch = [bench.pair(name) for name in classes], bench.batch()
    for first, second in ((pairs[0].stock, pairs[1].stock), (pairs[0].fast, pairs[1].fast)):
        second.bert = first.bert
        _edit(first)
    for _ in range(2):
        for pair in pairs:
            pair.check(**batch)


@behaviour(_GROUP, '`attn_implementation="eager"` and `"sdpa"`, switched later too', "all outputs")
def _attention_implementations(bench: Bench) -> None:
    batch = bench.batch()
    for first, then in (("eager", "sdpa"), ("sdpa", "eager")):
        pair = bench.pair(attn_implementation=first)
        pair.check(**batch)
        for model in (pair.stock, pair.fast):
            model.set_attn_implementation(then)
        pair.check(**batch)
