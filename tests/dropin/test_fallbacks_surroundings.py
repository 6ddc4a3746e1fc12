"""What watches or changes the modules from outside, and tensors without values, run stock: same result, counted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from tolerances import assert_same_output
from torch import nn
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

import bertfast
from dropin.helpers import (
    assert_falls_back,
    needs_v5,
    plain_call,
)


class _DoubledGelu(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        return result * 2 if function is nn.functional.gelu else result


@contextmanager
def _global_hook():
    handle = torch_module.register_module_forward_hook(lambda *_: None)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _global_pre_hook():
    handle = torch_module.register_module_forward_pre_hook(lambda *_: None)
    try:
        yield
    finally:
        handle.remove()


SURROUNDINGS: dict[str, tuple[Callable[[], AbstractContextManager[Any]], str]] = {
    "autocast": (lambda: torch.autocast("cpu", dtype=torch.bfloat16), "autocast"),
    "a flop counter": (lambda: FlopCounterMode(display=False), "a torch dispatch mode"),
    "a global hook": (_global_hook, "global module hooks"),
    "a global pre-hook": (_global_pre_hook, "global module hooks"),
    "a torch function mode": (_DoubledGelu, "mode"),
}


@pytest.mark.parametrize(("surroundings", "reason"), SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_surroundings_that_watch_or_change_the_modules(pair, batch, caplog, surroundings, reason):
    def call(model):
        with torch.no_grad(), surroundings():
            return model(**batch)

    pair.check(**batch)
    assert_falls_back(pair, call, reason, caplog)
    bertfast.accelerate(pair.fast)
    pair.check(**batch)


@pytest.mark.parametrize(
    "surroundings",
    [
        lambda: torch.device("cpu"),
        torch.inference_mode,
        lambda: torch.autocast("cpu", enabled=False),
        torch.autograd.detect_anomaly,
    ],
    ids=["a device", "inference mode", "autocast switched off", "anomaly detection"],
)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_surroundings_that_change_nothing_stay_fast(pair, batch, surroundings):
    with surroundings():
        pair.check(**batch)


def test_a_flop_counter_counts_what_stock_does(pair, batch):
    counts = []
    for model in (pair.stock, pair.fast):
        with FlopCounterMode(display=False) as counter:
            plain_call(batch)(model)
        counts.append(counter.get_total_flops())
    assert counts[1] == counts[0] > 0


@needs_v5
def test_vmap(pair, batch, caplog):
    def call(model):
        with torch.no_grad():
            return torch.vmap(lambda ids: model(ids.unsqueeze(0)).last_hidden_state[0])(batch["input_ids"])

    assert_falls_back(pair, call, "functorch", caplog)


def test_functorch_gradients(make_pair, caplog):
    pair = make_pair(attn_implementation="eager")
    embeds = torch.randn(2, 5, 48)

    def call(model):
        return torch.func.grad(lambda x: model(inputs_embeds=x).last_hidden_state.square().sum())(embeds)

    assert call(pair.stock).abs().max() > 1e-3
    assert_falls_back(pair, call, "functorch", caplog)


def test_forward_mode_differentiation(make_pair, caplog):
    pair = make_pair(attn_implementation="eager")
    embeds, tangent = torch.randn(2, 5, 48), torch.randn(2, 5, 48)

    def call(model):
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(embeds, tangent)
            output = model(inputs_embeds=dual).last_hidden_state
            found = torch.autograd.forward_ad.unpack_dual(output).tangent
            return torch.zeros(()) if found is None else found.detach().clone()

    assert call(pair.stock).abs().max() > 1e-3
    assert_falls_back(pair, call, "forward", caplog)


@pytest.mark.filterwarnings("ignore")
def test_jit_trace(pair, batch, caplog):
    other = {name: value.roll(1, 0) for name, value in batch.items()}

    def call(model):
        with torch.no_grad():
            traced = torch.jit.trace(model, example_kwarg_inputs=batch, strict=False, check_trace=False)
            return dict(traced(**other))

    assert_falls_back(pair, call, "tracing", caplog)


@pytest.mark.slow
@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification"])
def test_compile_of_the_whole_model(make_pair, batch, class_name):
    pair = make_pair(class_name)
    before = pair.check(**batch)
    compiled = torch.compile(pair.fast, backend="aot_eager")
    for _ in range(2):
        with torch.no_grad():
            assert_same_output(compiled(**batch), before, pair.bound)
    pair.check(**batch)


@pytest.mark.slow
def test_export(pair, batch):
    exported = torch.export.export(pair.fast, (), kwargs=batch, strict=False)
    expected = plain_call(batch)(pair.stock)
    actual = exported.module()(**batch)
    torch.testing.assert_close(actual[0], expected[0], rtol=1e-5, atol=1e-5)


@needs_v5
def test_fake_tensors(pair, batch, caplog):
    from torch._subclasses.fake_tensor import FakeTensorMode

    def call(model):
        with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
            fake = mode.from_tensor(batch["input_ids"])
            return model(fake).last_hidden_state.shape

    assert_falls_back(pair, call, "dispatch mode", caplog)


@pytest.mark.parametrize("when", ["before the first call", "later"])
def test_meta_tensors(pair, batch, when):
    if when == "later":
        pair.check(**batch)
    results = []
    for model in (pair.stock, pair.fast):
        try:
            results.append(model.to("meta")(**{n: v.to("meta") for n, v in batch.items()})[0].shape)
        except Exception as error:
            results.append(type(error))
    assert results[1] == results[0]
    assert bertfast.explain(pair.fast).path == "stock"
    assert "meta" in bertfast.explain(pair.fast).reason
