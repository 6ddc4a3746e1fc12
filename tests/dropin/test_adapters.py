"""PEFT: a model with active adapters gives stock's answers, one that has none left is fast."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tolerances import assert_same_output
from torch import nn

import bertfast
from dropin.helpers import assert_differ, counted, output_of, state_of

peft = pytest.importorskip("peft", reason="needs peft")

_CLASS = "BertForSequenceClassification"
_QUERY = {"target_modules": ["query"]}


def _wrap(model: nn.Module, config: Any) -> Any:
    """The model with an adapter that changes its answers, as after training: a fresh one changes nothing."""
    torch.manual_seed(2)
    wrapped = peft.get_peft_model(model, config).eval()
    _train(wrapped)
    return wrapped


def _train(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "classifier" not in name:
                parameter.add_(torch.empty_like(parameter).uniform_(-1, 1, generator=generator))


def _lora(**options: Any) -> Any:
    return peft.LoraConfig(task_type="SEQ_CLS", **{**_QUERY, **options})


@pytest.fixture
def models(make_pair) -> tuple[nn.Module, nn.Module]:
    """A stock head and its accelerated twin: for peft to put adapters into."""
    pair = make_pair(_CLASS)
    return pair.stock, pair.fast


CONFIGS: dict[str, Callable[[], Any]] = {
    "LoRA": _lora,
    # An eighth of it in each layer: with all of it scores are so large that stock itself is 4e-5 from float64.
    "LoRA, all linear layers": lambda: _lora(target_modules="all-linear", lora_alpha=1),
    "LoRA, word embeddings": lambda: _lora(target_modules=["word_embeddings"]),
    "LoRA, biases": lambda: _lora(bias="all"),
    "LoRA, new token rows": lambda: _lora(trainable_token_indices=[5, 6, 7]),
    "DoRA": lambda: _lora(use_dora=True),
    "LoHa": lambda: peft.LoHaConfig(task_type="SEQ_CLS", **_QUERY),
    "OFT": lambda: peft.OFTConfig(task_type="SEQ_CLS", oft_block_size=8, **_QUERY),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_an_active_adapter_runs_stock_and_a_merged_one_is_fast(models, batch, pair, config):
    plain = output_of(models[0], batch).logits
    stock, fast = (_wrap(model, config()) for model in models)
    expected = output_of(stock, batch).logits
    assert_differ(expected, plain)
    with counted() as calls:
        assert_same_output(output_of(fast, batch).logits, expected, pair.bound)
    assert (calls["fast"], calls["stock"]) == (0, 1)
    assert " is a peft." in bertfast.explain(fast).reason

    stock, fast = stock.merge_and_unload(), fast.merge_and_unload()
    with counted() as calls:
        assert_same_output(output_of(fast, batch).logits, output_of(stock, batch).logits, pair.bound)
    assert calls == {"fast": 1}


def test_an_adapter_on_the_pooler_only_is_fast(models, batch, pair):
    stock, fast = (_wrap(model, _lora(target_modules=["pooler.dense"])) for model in models)
    with counted() as calls:
        assert_same_output(output_of(fast, batch).logits, output_of(stock, batch).logits, pair.bound)
    assert calls == {"fast": 1}


def test_accelerating_what_peft_has_wrapped(models, batch, pair):
    stock = _wrap(models[0], _lora())
    fast = bertfast.accelerate(copy.deepcopy(stock))
    with counted() as calls:
        assert_same_output(output_of(fast, batch).logits, output_of(stock, batch).logits, pair.bound)
        merged = fast.merge_and_unload()
        assert_same_output(output_of(merged, batch).logits, output_of(stock, batch).logits, pair.bound)
    assert (calls["fast"], calls["stock"]) == (1, 1)


def test_restore_of_a_model_with_an_adapter(models):
    model = _wrap(models[0], _lora())
    before = state_of(model)
    bertfast.accelerate(model)
    assert state_of(model) != before
    bertfast.restore(model)
    assert state_of(model) == before


def _second(model: Any) -> Any:
    """A second adapter, on other layers."""
    torch.manual_seed(4)
    model.add_adapter("second", _lora(target_modules=["key"], init_lora_weights=False))
    return model.eval()


def test_the_adapter_that_is_set_answers(models, batch, pair):
    stock, fast = (_second(_wrap(model, _lora())) for model in models)
    answers = []
    for name in ("second", "default"):
        for model in (stock, fast):
            model.set_adapter(name)
        answers.append(output_of(fast, batch).logits)
        assert_same_output(answers[-1], output_of(stock, batch).logits, pair.bound)
    assert_differ(*answers)


@pytest.mark.parametrize("names", [["default"], ["second"], ["default", "second"]], ids="+".join)
def test_the_adapters_that_are_merged_stay(models, batch, pair, names):
    plain = output_of(models[0], batch).logits
    stock, fast = (_second(_wrap(model, _lora())).merge_and_unload(adapter_names=names) for model in models)
    with counted() as calls:
        logits = output_of(fast, batch).logits
    assert calls == {"fast": 1}
    assert_same_output(logits, output_of(stock, batch).logits, pair.bound)
    assert_differ(logits, plain)


def test_disabled_adapters_answer_as_the_model_without_them(models, batch, pair):
    plain = output_of(models[0], batch).logits
    fast = _wrap(models[1], _lora())
    with fast.disable_adapter():
        assert_same_output(output_of(fast, batch).logits, plain, pair.bound)
    assert_differ(output_of(fast, batch).logits, plain)


def test_merging_for_a_while_is_seen(models, batch, pair):
    stock, fast = (_wrap(model, _lora()) for model in models)
    expected = output_of(stock, batch).logits
    for change in ("merge_adapter", "unmerge_adapter"):
        getattr(fast, change)()
        torch.testing.assert_close(output_of(fast, batch).logits, expected, rtol=1e-4, atol=1e-4)


def test_taking_an_adapter_off_and_putting_it_on_again(models, batch, pair):
    plain = output_of(models[0], batch).logits
    fast = models[1]
    for _ in range(2):
        with counted() as calls:
            assert_same_output(output_of(fast, batch).logits, plain, pair.bound)
        assert calls == {"fast": 1}
        wrapped = _wrap(fast, _lora())
        assert_differ(output_of(wrapped, batch).logits, plain)
        fast = wrapped.unload()


def test_adapters_are_saved_and_loaded_both_ways(models, make_pair, batch, pair, tmp_path):
    saved = {name: _wrap(model, _lora()) for name, model in zip(("stock", "fast"), models, strict=True)}
    for name, model in saved.items():
        model.save_pretrained(tmp_path / name)
    files = ("adapter_model.safetensors", "adapter_config.json")
    for file in files:
        assert (tmp_path / "fast" / file).read_bytes() == (tmp_path / "stock" / file).read_bytes()
    fresh = make_pair(_CLASS)
    expected = output_of(saved["stock"], batch).logits
    for base, folder in ((fresh.stock, "fast"), (fresh.fast, "stock")):
        loaded = peft.PeftModel.from_pretrained(base, tmp_path / folder).eval()
        assert_same_output(output_of(loaded, batch).logits, expected, pair.bound)


def _native(model: Any) -> Any:
    """Transformers' own way to adapters."""
    torch.manual_seed(2)
    try:
        model.add_adapter(peft.LoraConfig(**_QUERY))
    except (ImportError, ValueError) as error:
        pytest.skip(f"this transformers and this peft: {error}")
    _train(model)
    return model.eval()


def test_transformers_own_adapters(models, batch, pair):
    plain = output_of(models[0], batch).logits
    stock, fast = map(_native, models)
    expected = output_of(stock, batch).logits
    assert_differ(expected, plain)
    assert_same_output(output_of(fast, batch).logits, expected, pair.bound)
    fast.disable_adapters()
    assert_same_output(output_of(fast, batch).logits, plain, pair.bound)
    fast.enable_adapters()
    assert_same_output(output_of(fast, batch).logits, expected, pair.bound)
    fast.delete_adapter("default")
    assert_same_output(output_of(fast, batch).logits, plain, pair.bound)


@pytest.mark.parametrize("kind", ["PromptTuningConfig", "PromptEncoderConfig"])
def test_virtual_tokens_are_fast(models, batch, pair, kind):
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    config = getattr(peft, kind)(task_type="SEQ_CLS", num_virtual_tokens=4)
    stock, fast = (_wrap(model, config) for model in models)
    with counted() as calls:
        logits = output_of(fast, inputs).logits
    assert calls == {"fast": 1}
    assert_same_output(logits, output_of(stock, inputs).logits, pair.bound)
