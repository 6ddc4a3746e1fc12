"""Functions that somebody else put in the place of transformers' forwards: obeyed, never lost."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tolerances import TOLERANCES, assert_gradients_close, assert_same_output
from torch import nn
from transformers.models.bert import modeling_bert

import bertfast
from dropin.helpers import assert_falls_back, counted, output_of

HEAD = "BertForSequenceClassification"


class _Patch:
    """Another library's function over a class's ``forward``. calls: how often it ran."""

    def __init__(self, kind: type[nn.Module], wraps: bool = True) -> None:
        self.kind, self.beneath, self.calls = kind, kind.forward, 0

        def forward(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return self.beneath(model, *args, **kwargs)

        # A good citizen copies the name, the module and the signature of what it stands in for.
        self.forward = functools.wraps(self.beneath)(forward) if wraps else forward
        kind.forward = self.forward

    def remove(self) -> None:
        self.kind.forward = self.beneath


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    kinds = [modeling_bert.BertModel, getattr(modeling_bert, HEAD)]
    forwards = [kind.forward for kind in kinds]
    yield
    for kind, forward in zip(kinds, forwards, strict=True):
        kind.forward = forward
    bertfast.uninstall()
    assert [kind.forward for kind in kinds] == forwards


@pytest.mark.parametrize("wraps", [True, False])
def test_a_patch_from_before_install_runs_and_outlives_it(make_pair, batch, wraps):
    pair = make_pair()
    expected = output_of(pair.stock, batch)
    patch = _Patch(modeling_bert.BertModel, wraps)
    bertfast.install()
    with counted() as calls:
        assert_same_output(output_of(pair.stock, batch), expected, pair.bound)
    assert patch.calls == 1
    assert calls["stock"] == 1
    assert "BertModel.forward has been replaced by" in bertfast.explain(pair.stock).reason
    bertfast.uninstall()
    assert modeling_bert.BertModel.forward is patch.forward
    patch.remove()


def test_a_patch_that_goes_before_uninstall_leaves_nothing_behind(make_pair, batch):
    pair = make_pair()
    stock = modeling_bert.BertModel.forward
    patch = _Patch(modeling_bert.BertModel)
    bertfast.install()
    patch.remove()
    bertfast.install()
    with counted() as calls:
        output_of(pair.stock, batch)
    assert calls == {"fast": 1}
    bertfast.uninstall()
    assert modeling_bert.BertModel.forward is stock


def test_a_patch_over_install_is_fast_and_uninstall_refuses_to_lose_it(make_pair, batch):
    pair = make_pair()
    bertfast.install()
    patch = _Patch(modeling_bert.BertModel)
    bertfast.install()
    assert modeling_bert.BertModel.forward is patch.forward
    for model in (pair.stock, pair.fast):
        with counted() as calls:
            output_of(model, batch)
        assert calls == {"fast": 1}
    assert patch.calls == 2

    with pytest.raises(bertfast.UninstallError, match=r"BertModel\.forward has been replaced by .*test_third_parties"):
        bertfast.uninstall()
    assert modeling_bert.BertModel.forward is patch.forward
    with counted() as calls:
        output_of(pair.stock, batch)
    assert calls == {"fast": 1}

    patch.remove()
    bertfast.uninstall()
    with counted() as calls:
        output_of(pair.stock, batch)
    assert not calls


@pytest.mark.parametrize("class_name", ["BertModel", HEAD])
def test_a_patch_reaches_accelerated_models(make_pair, batch, class_name, caplog):
    pair = make_pair(class_name)
    patch = _Patch(modeling_bert.BertModel)
    assert_falls_back(pair, lambda model: output_of(model, batch), r"BertModel\.forward has been replaced", caplog)
    assert patch.calls > 0
    patch.remove()
    pair.check(**batch)


@pytest.mark.parametrize("way", ["accelerated", "install", "patched after install"])
def test_a_patched_head_may_look_at_every_token(make_pair, batch, way):
    pair = make_pair(HEAD)
    expected = output_of(pair.stock, batch).logits
    model = pair.fast if way == "accelerated" else pair.stock
    if way == "patched after install":
        bertfast.install()
    seen = []

    def forward(self: Any, input_ids: Any = None, attention_mask: Any = None, token_type_ids: Any = None) -> Any:
        output = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        seen.append(output.last_hidden_state)
        return self.classifier(output.pooler_output)

    stock = getattr(modeling_bert, HEAD).forward
    getattr(modeling_bert, HEAD).forward = forward
    if way == "install":
        bertfast.install()
    with counted() as calls:
        logits = output_of(model, batch)
    assert calls == {"fast": 1}
    assert_same_output(logits, expected, pair.bound)
    assert seen[0].shape == (5, 13, 48)
    if way == "patched after install":
        with pytest.raises(bertfast.UninstallError, match=HEAD):
            bertfast.uninstall()
    getattr(modeling_bert, HEAD).forward = stock


def test_gradients_under_install_are_stocks(make_pair, batch):
    model = make_pair().stock

    def gradients() -> dict[str, torch.Tensor | None]:
        model.zero_grad()
        model(**batch).last_hidden_state.square().sum().backward()
        return {name: p.grad for name, p in model.named_parameters()}

    with bertfast.installed(), counted() as calls:
        found = gradients()
    assert calls == {"fast": 1}
    with counted() as calls:
        expected = gradients()
    assert not calls
    assert_gradients_close(found, expected, TOLERANCES[torch.float32].gradient)


def test_a_patch_over_install_sees_what_stock_gives(make_pair, batch):
    """Also inside of a head that reads the pooled output only: the patch may look at every token."""
    pair = make_pair(HEAD)
    bertfast.install()
    beneath, seen = modeling_bert.BertModel.forward, []

    def looks(model, *args, **kwargs):
        output = beneath(model, *args, **kwargs)
        seen.append(tuple(output.last_hidden_state.shape[:2]))
        return output

    modeling_bert.BertModel.forward = looks
    for model in (pair.stock, pair.fast):
        with counted() as calls:
            output_of(model, batch)
        assert calls == {"fast": 1}
    assert seen == [tuple(batch["input_ids"].shape)] * 2


def test_a_patch_that_does_not_call_through_is_counted_and_refused(make_pair, batch):
    pair = make_pair()
    own = modeling_bert.BertModel.forward
    bertfast.install()
    modeling_bert.BertModel.forward = lambda model, *args, **kwargs: own(model, *args, **kwargs)
    with counted() as calls:
        output_of(pair.fast, batch)
    assert calls["stock"] == 1
    bertfast.accelerate(pair.fast, on_fallback="raise")
    with pytest.raises(bertfast.FallbackError, match="has been replaced"):
        output_of(pair.fast, batch)


def test_a_layer_that_somebody_takes_away_leaves_accelerated_models_fast(make_pair, batch, monkeypatch):
    pair = make_pair()
    with monkeypatch.context() as patch:
        patch.setattr(modeling_bert.BertModel, "forward", lambda *args, **kwargs: None)
        bertfast.install()
    with counted() as calls:
        output_of(pair.fast, batch)
    assert calls == {"fast": 1}


def test_an_old_layer_put_back_is_not_its_own_stock(make_pair, batch):
    pair = make_pair()
    expected = output_of(pair.stock, batch)
    bertfast.install()
    layer, own = modeling_bert.BertModel.forward, bertfast.models.bert.BERT.own
    bertfast.uninstall()
    modeling_bert.BertModel.forward = layer
    bertfast.install()
    try:
        assert_same_output(output_of(pair.stock, batch), expected, pair.bound)
    finally:
        bertfast.uninstall()
    assert modeling_bert.BertModel.forward is own


@pytest.mark.parametrize("block_fails", [False, True])
def test_a_block_that_cannot_be_ended_does_not_hide_its_own_error(make_pair, batch, caplog, block_fails):
    mine, patches = KeyError("mine"), []

    def run() -> None:
        with bertfast.installed():
            patches.append(_Patch(modeling_bert.BertModel))
            if block_fails:
                raise mine

    with pytest.raises(KeyError if block_fails else bertfast.UninstallError) as caught:
        run()
    if block_fails:
        assert caught.value is mine
        told = [record.getMessage() for record in caplog.records if record.name == "bertfast"]
        assert len(told) == 1
        assert re.search(r"raised KeyError: BertModel\.forward has been replaced by .*test_third_parties", told[0])
        assert getattr(mine, "__notes__", told) == told
    # Nothing is lost: what is still installed can be taken out, or is by the next block.
    assert modeling_bert.BertModel.forward is patches[0].forward
    patches[0].remove()
    with bertfast.installed(), counted() as calls:
        output_of(make_pair().stock, batch)
    assert calls == {"fast": 1}
    with counted() as calls:
        output_of(make_pair().stock, batch)
    assert not calls


def test_a_generator_closed_in_a_block_that_cannot_be_ended_is_closed(caplog):
    def waits() -> Iterator[None]:
        with bertfast.installed():
            yield

    generator = waits()
    next(generator)
    patch = _Patch(modeling_bert.BertModel)
    generator.close()
    assert "raised GeneratorExit" in caplog.text
    patch.remove()
