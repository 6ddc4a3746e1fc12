"""What the fast path cannot do runs stock transformers: same result, counted, explained, logged once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
import transformers
from tolerances import assert_same_output
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.bert import modeling_bert

import bertfast
from dropin.helpers import V5, assert_differ, assert_falls_back, attention, counted, layer, needs_v4, needs_v5


def _plain(batch: dict[str, Tensor], **more: Any) -> Callable[[nn.Module], Any]:
    """A call without gradients."""

    def call(model: nn.Module) -> Any:
        with torch.no_grad():
            return model(**{**batch, **more})

    return call


def _values_only(module, query, key, value, attention_mask, **kwargs):
    """An attention function that does not attend."""
    return value.transpose(1, 2), None


def register_values_only():
    """Make ``_values_only`` known to transformers 5 by its name."""
    if V5:
        transformers.AttentionInterface.register("values_only", _values_only)


# ---- The model is not an encoder in eval mode that computes what BERT computes.


def _train(model):
    model.train()


def _train_one_dropout(model):
    layer(model).output.dropout.train()


def _hook(model):
    layer(model).register_forward_hook(lambda module, args, output: output)


def _pre_hook(model):
    layer(model).output.dense.register_forward_pre_hook(lambda module, args: (args[0] * 2,))


def _backward_hook(model):
    layer(model).register_full_backward_hook(lambda module, grads, grad_outputs: None)


def _instance_forward(model):
    dense = layer(model).output.dense
    dense.forward = lambda x: nn.functional.linear(x, -dense.weight, dense.bias)


class _Marked(nn.Parameter):
    """A parameter that some library keeps its notes on."""


def _parameter_subclass(model):
    layer(model).output.dense.weight = _Marked(layer(model).output.dense.weight.detach())


MODELS: dict[str, tuple[Callable[[nn.Module], None], str]] = {
    "training mode": (_train, "training mode"),
    "training mode of a submodule": (_train_one_dropout, "training mode of a submodule"),
    "a forward hook on a submodule": (_hook, "a hook on encoder.layer.0"),
    "a forward pre-hook on a submodule": (_pre_hook, "a hook on encoder.layer.0.output.dense"),
    "a backward hook on a submodule": (_backward_hook, "a hook on encoder.layer.0"),
    "an instance-level forward": (_instance_forward, "encoder.layer.0.output.dense.forward"),
    "a subclass of Parameter": (_parameter_subclass, "_Marked"),
}


@pytest.mark.parametrize("when", ["before the first call", "later"])
@pytest.mark.parametrize(("change", "reason"), MODELS.values(), ids=MODELS)
def test_a_model_that_is_not_plain(pair, batch, caplog, change, reason, when):
    if when == "later":
        pair.check(**batch)
    for model in (pair.stock, pair.fast):
        change(model)
    assert_falls_back(pair, _plain(batch), reason, caplog)


CONFIGS = {
    "an unknown activation": ({"hidden_act": "silu"}, "SiLU"),
    "a decoder": ({"is_decoder": True}, "decoder"),
    "cross-attention": ({"is_decoder": True, "add_cross_attention": True}, "decoder"),
    "attentions wanted": ({"output_attentions": True, "attn_implementation": "eager"}, "output_attentions"),
    "relative positions": ({"position_embedding_type": "relative_key"}, "relative_key|distance_embedding"),
    "causal by config": ({"is_causal": True}, "is_causal"),
}


@pytest.mark.parametrize(("changes", "reason"), CONFIGS.values(), ids=CONFIGS)
def test_a_config_that_asks_for_more(make_pair, batch, caplog, changes, reason):
    if V5 and "position_embedding_type" in changes:
        pytest.skip("transformers 5 ignores position_embedding_type")
    pair = make_pair(**changes)
    assert_falls_back(pair, _plain(batch, use_cache=False), reason, caplog)


LATER = {
    "a decoder": ("is_decoder", True),
    "attentions wanted": ("output_attentions", True),
    "causal": pytest.param("is_causal", True, marks=needs_v5),
    "another attention": pytest.param("_attn_implementation", "values_only", marks=needs_v5),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [p if hasattr(p, "values") else pytest.param(*p, id=key) for key, p in LATER.items()],
)
def test_a_config_that_changes_later(make_pair, batch, caplog, name, value):
    register_values_only()
    pair = make_pair(attn_implementation="eager")
    pair.check(**batch)
    for model in (pair.stock, pair.fast):
        setattr(model.config, name, value)
    reason = "values_only" if name == "_attn_implementation" else name.removeprefix("is_")
    assert_falls_back(pair, _plain(batch, use_cache=False), reason, caplog)


def test_hidden_states_wanted_by_the_config_later(pair, batch):
    pair.check(**batch)
    for model in (pair.stock, pair.fast):
        model.config.output_hidden_states = True
    assert len(pair.check(**batch).hidden_states) == 3


def test_a_hook_of_accelerate_is_seen(pair, batch):
    """What accelerate's offloading does: the old forward kept aside, a new one put on the instance."""
    pair.check(**batch)
    calls = []
    dense = layer(pair.fast).output.dense
    dense._old_forward = dense.forward
    dense.forward = lambda *args: calls.append(1) or dense._old_forward(*args)
    assert_same_output(_plain(batch)(pair.fast), _plain(batch)(pair.stock), pair.bound)
    assert calls == [1]


def test_a_hook_that_is_removed_makes_the_model_fast_again(pair, batch):
    handle = layer(pair.fast).register_forward_hook(lambda *_: None)
    with counted() as calls:
        pair.fast(**batch)
    assert calls["stock"] == 1
    handle.remove()
    pair.check(**batch)


@needs_v5
def test_a_custom_attention_function(make_pair, batch, caplog):
    register_values_only()
    pair = make_pair()
    before = pair.check(**batch)
    for model in (pair.stock, pair.fast):
        model.set_attn_implementation("values_only")
    assert_differ(_plain(batch)(pair.stock), before)
    assert_falls_back(pair, _plain(batch), "values_only", caplog)


@contextmanager
def _other_sdpa():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(transformers.AttentionInterface._global_mapping, "sdpa", _values_only)
        yield


@contextmanager
def _other_class_forward():
    stock = modeling_bert.BertIntermediate.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_bert.BertIntermediate, "forward", lambda self, x: -stock(self, x))
        yield


PATCHES = {
    "sdpa registered anew": pytest.param(_other_sdpa, marks=needs_v5),
    "a class of the model patched": _other_class_forward,
}


@pytest.mark.parametrize("patched", PATCHES.values(), ids=PATCHES)
def test_transformers_patched_by_another_library(pair, batch, patched):
    before = pair.check(**batch)
    with patched():
        expected, actual = _plain(batch)(pair.stock), _plain(batch)(pair.fast)
    assert_differ(expected, before)
    assert_same_output(actual, expected, pair.bound)


# ---- The call asks for more.


def _three_d(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    mask = batch["attention_mask"]
    return {"attention_mask": mask.unsqueeze(1) * mask.new_ones(mask.shape[1], mask.shape[1]).tril()}


def _four_d(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"attention_mask": _three_d(batch)["attention_mask"].unsqueeze(1).bool()}


def _empty_row(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    mask = batch["attention_mask"].clone()
    mask[1] = 0
    return {"attention_mask": mask}


class _Tagged(Tensor):
    """A tensor subclass that changes nothing."""


def _case(name: str, change: Callable[..., Any], reason: str, *marks: Any) -> Any:
    return pytest.param(change, reason, id=name, marks=marks)


CALLS = [
    _case("output_attentions", lambda b: {"output_attentions": True}, "output_attentions"),
    _case("3-D mask", _three_d, "3-D attention_mask", needs_v4),
    _case("4-D mask", _four_d, "4-D attention_mask", needs_v5),
    _case("a row without tokens", _empty_row, "a row without any attended token"),
    _case("a tensor subclass", lambda b: {"input_ids": b["input_ids"].as_subclass(_Tagged)}, "_Tagged"),
    _case("head_mask", lambda b: {"head_mask": torch.tensor([0.0, 1, 1, 0])}, "head_mask", needs_v4),
    _case("is_causal", lambda b: {"is_causal": True}, "is_causal", needs_v5),
    _case("some hidden states", lambda b: {"output_hidden_states": [0]}, "output_hidden_states", needs_v5),
    _case("1-D positions", lambda b: {"position_ids": torch.arange(13)}, "1-D position_ids", needs_v4),
    _case("an unused mask", lambda b: {"encoder_attention_mask": b["attention_mask"]}, "encoder_attention_mask"),
]


@pytest.mark.parametrize(("change", "reason"), CALLS)
def test_a_call_that_asks_for_more(make_pair, batch, caplog, change, reason):
    pair = make_pair(attn_implementation="eager") if reason == "output_attentions" else make_pair()
    pair.check(**batch)
    assert_falls_back(pair, _plain(batch, **change(batch)), reason, caplog)


REFUSED = {
    "3-D mask": pytest.param(_three_d, marks=needs_v5),
    "4-D mask": pytest.param(_four_d, marks=needs_v4),
    "an unknown argument": pytest.param(lambda b: {"no_such_argument": 1}, marks=needs_v4),
    "an argument given twice": lambda b: {"positional": b["input_ids"]},
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_a_call_that_stock_refuses_is_refused_alike(pair, batch, change):
    more = change(batch)
    positional = [more.pop("positional")] if "positional" in more else []
    raised = []
    for model in (pair.stock, pair.fast):
        with pytest.raises((TypeError, ValueError, RuntimeError)) as error:
            model(*positional, **{**batch, **more})
        raised.append(error)
    assert raised[1].type is raised[0].type
    assert str(raised[1].value) == str(raised[0].value)
    pair.check(**batch)


@needs_v5
def test_an_unknown_argument_is_left_to_stock(pair, batch):
    assert_same_output(_plain(batch, no_such=1)(pair.fast), _plain(batch, no_such=1)(pair.stock), pair.bound)


# ---- The surroundings ask for stock.


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
            _plain(batch)(model)
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
    expected = _plain(batch)(pair.stock)
    actual = exported.module()(**batch)
    torch.testing.assert_close(actual[0], expected[0], rtol=1e-5, atol=1e-5)


# ---- Tensors without values.


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


# ---- Decoders.


def test_generation_with_a_decoder(make_pair, batch):
    pair = make_pair("BertLMHeadModel", is_decoder=True, eos_token_id=None)
    prompt = batch["input_ids"][[0, 2]][:, :5]
    with counted() as calls:
        outputs = [model.generate(prompt, max_new_tokens=6, do_sample=False) for model in (pair.stock, pair.fast)]
    assert outputs[0].shape == (2, 11)
    assert torch.equal(outputs[1], outputs[0])
    assert calls["fast"] == 0
    assert calls["stock"] == 6


def test_a_decoder_with_cache_and_cross_attention(make_pair, batch, caplog):
    pair = make_pair(is_decoder=True, add_cross_attention=True)
    more = {"encoder_hidden_states": torch.randn(5, 7, 48), "use_cache": True}

    def call(model):
        output = _plain(batch, **more)(model)
        assert output.past_key_values is not None
        return output.last_hidden_state

    assert_falls_back(pair, call, "decoder|encoder_hidden_states", caplog)


def test_an_encoder_decoder_model_has_a_fast_encoder(make_config, batch):
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(
        make_config(attn_implementation="sdpa"),
        make_config(attn_implementation="sdpa", is_decoder=True, add_cross_attention=True),
    )
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, None
    model = transformers.EncoderDecoderModel(config=config).eval()
    options = {"max_new_tokens": 5, "do_sample": False}
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    expected = model.generate(**inputs, **options)
    bertfast.accelerate(model)
    with counted() as calls:
        assert torch.equal(model.generate(**inputs, **options), expected)
    assert calls["fast"] == 1
    assert calls["stock"] == 5


# ---- Hooks on the encoder as a whole, and what lets it stay fast.


def _watch(module: nn.Module, seen: list[Any]) -> None:
    module.register_forward_hook(lambda module, args, output: seen.append(output))


@pytest.mark.parametrize("class_name", ["BertForSequenceClassification", "BertForNextSentencePrediction"])
def test_a_hook_on_the_encoder_sees_all_hidden_states(make_pair, batch, class_name):
    pair = make_pair(class_name)
    pair.check(**batch)
    seen: dict[str, list[Any]] = {"stock": [], "fast": []}
    _watch(pair.stock.bert, seen["stock"])
    _watch(pair.fast.bert, seen["fast"])
    pair.check(**batch)
    assert seen["stock"][0].last_hidden_state.shape == (5, 13, 48)
    assert_same_output(seen["fast"][0], seen["stock"][0], pair.bound)


def test_a_hook_on_the_encoder_that_changes_its_output(make_pair, batch):
    pair = make_pair("BertForSequenceClassification")
    before = pair.check(**batch)

    def mean_of_all(module, args, output):
        output.pooler_output = output.last_hidden_state.mean(1)
        return output

    for model in (pair.stock, pair.fast):
        model.bert.register_forward_hook(mean_of_all)
    assert_differ(pair.check(**batch), before)


@pytest.mark.parametrize("class_name", ["BertForSequenceClassification", "BertForNextSentencePrediction"])
def test_the_encoder_of_a_head_called_by_itself_gives_all_hidden_states(make_pair, batch, class_name):
    pair = make_pair(class_name)
    encoders = type(pair)(pair.stock.bert, pair.fast.bert)
    encoders.check(**batch)
    pair.check(**batch)
    encoders.check(**batch)
    with pytest.raises(bertfast.InputRangeError):
        pair.fast(input_ids=batch["input_ids"] + 1000)
    encoders.check(**batch)


def test_a_hook_on_the_pooler_sees_all_hidden_states(make_pair, batch):
    pair = make_pair("BertForSequenceClassification")
    seen: list[Tensor] = []
    for model in (pair.stock, pair.fast):
        model.bert.pooler.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        _plain(batch)(model)
    assert_same_output(seen[1], seen[0], pair.bound)


class MeanPooler(nn.Module):
    """What sentence embedders put in the place of BERT's own pooler."""

    def forward(self, hidden_states):
        return hidden_states.mean(1)


def test_another_pooler_gets_all_hidden_states(make_pair, batch):
    pair = make_pair("BertForSequenceClassification")
    before = pair.check(**batch)
    for model in (pair.stock, pair.fast):
        model.bert.pooler = MeanPooler().eval()
    expected, actual = _plain(batch)(pair.stock), _plain(batch)(pair.fast)
    assert_differ(expected, before)
    assert_same_output(actual, expected, pair.bound)


def test_gradient_checkpointing_in_eval_mode(pair, batch):
    """It changes nothing then, but transformers may have put hooks on the embeddings."""
    before = pair.check(**batch)
    for model in (pair.stock, pair.fast):
        model.gradient_checkpointing_enable()
    assert_same_output(_plain(batch)(pair.fast), before, pair.bound)
    for model in (pair.stock, pair.fast):
        model.gradient_checkpointing_disable()
    assert_same_output(_plain(batch)(pair.fast), before, pair.bound)


def test_gradient_checkpointing_in_training_mode(pair, batch, caplog):
    for model in (pair.stock, pair.fast):
        model.gradient_checkpointing_enable()
        model.train()

    def call(model):
        model.zero_grad()
        model(**batch).last_hidden_state.square().sum().backward()
        return attention(model).query.weight.grad.clone()

    assert_falls_back(pair, call, "training mode", caplog)


class _Unmasked:
    """A user's encoder that attends to padding too: it overrides a step of stock's forward."""

    def _create_attention_masks(self, attention_mask, *args, **kwargs):
        return super()._create_attention_masks(None, *args, **kwargs)

    def get_extended_attention_mask(self, attention_mask, *args, **kwargs):
        return super().get_extended_attention_mask(torch.ones_like(attention_mask), *args, **kwargs)


@pytest.mark.parametrize("way", ["a subclass of bertfast's", "install"])
def test_a_subclass_that_overrides_a_step_is_obeyed(make_pair, batch, way):
    # Eager, because 4.57 asks get_extended_attention_mask only then.
    pair = make_pair(attn_implementation="eager")
    before = pair.check(**batch)
    pair.stock.__class__ = type("BertModel", (_Unmasked, transformers.BertModel), {})
    expected = _plain(batch)(pair.stock)
    assert_differ(expected, before)
    if way == "install":
        bertfast.install()
        try:
            actual = _plain(batch)(pair.stock)
        finally:
            bertfast.uninstall()
    else:
        pair.fast.__class__ = type("BertModel", (_Unmasked, bertfast.BertModel), {})
        actual = _plain(batch)(pair.fast)
    assert_same_output(actual, expected, pair.bound)
