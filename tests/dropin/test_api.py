"""The names, signatures and types of bertfast are transformers' own, and what it adds does what it says."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
import transformers
from parity.heads import CLASSES, POOLED, call_inputs
from tolerances import assert_same_output
from torch import nn
from transformers.models.bert import modeling_bert

import bertfast
from dropin.helpers import counted, encoder_of, needs_v5


def _plain(model: nn.Module, inputs: dict[str, Any]) -> Any:
    with torch.no_grad():
        return model(**inputs)


@pytest.fixture
def installed():
    """The whole process accelerated, for the length of a test."""
    bertfast.install()
    yield
    bertfast.uninstall()


# ---- Names.


@pytest.mark.parametrize(
    "name", ["AutoConfig", "BertConfig", "ElectraModel", "Trainer", "TrainingArguments", "set_seed"]
)
def test_other_names_are_transformers_own(name):
    assert getattr(bertfast, name) is getattr(transformers, name)


def test_from_import_serves_both_kinds():
    from bertfast import BertConfig, BertForMaskedLM, accelerate

    assert BertConfig is transformers.BertConfig
    assert BertForMaskedLM is not transformers.BertForMaskedLM
    assert callable(accelerate)


def test_an_unknown_name_names_both_packages():
    with pytest.raises(AttributeError, match=r"bertfast.*transformers.*'NoSuchModel'"):
        _ = bertfast.NoSuchModel
    with pytest.raises(ImportError, match=r"NoSuchModel.*bertfast"):
        from bertfast import NoSuchModel  # noqa: F401
    assert not hasattr(bertfast, "_no_such_name")


def test_every_public_name_is_there():
    assert set(bertfast.__all__) <= set(dir(bertfast))
    for name in bertfast.__all__:
        assert getattr(bertfast, name) is not None


def _run(script: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, timeout=120)


def test_importing_imports_nothing_else():
    _run("import sys, bertfast; assert not {'torch', 'transformers', 'numpy'} & sys.modules.keys()")


_STATE = """
import logging, sys, warnings
import torch, transformers
from transformers.models.bert import modeling_bert
def state():
    return (
        modeling_bert.BertModel.forward, modeling_bert.BertForSequenceClassification.forward,
        modeling_bert.BertModel.__init__, torch.nn.Module.__call__, torch.get_num_threads(),
        torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_float32_matmul_precision(),
        list(logging.root.handlers), list(logging.getLogger("bertfast").handlers), logging.root.level,
        list(warnings.filters), sys.excepthook, transformers.AutoModel, transformers.AutoTokenizer,
    )
before = state()
from bertfast import BertModel, BertForMaskedLM, AutoTokenizer, accelerate, install, explain, stats
assert state() == before
"""


@pytest.mark.slow
def test_using_the_names_has_no_side_effect():
    _run(_STATE)


_FIRST_USE = """
import torch, transformers, bertfast
sizes = dict(vocab_size=9, hidden_size=4, num_hidden_layers=2, num_attention_heads=1, intermediate_size=4)
for head in (transformers.BertModel, transformers.BertForMaskedLM):
    model = bertfast.accelerate(head(transformers.BertConfig(**sizes)))
    for training in (True, False, True):
        output = model.train(training)(torch.tensor([[1, 2]]), output_hidden_states=True)
        assert len(output.hidden_states) == 3, output
"""


@pytest.mark.slow
def test_a_model_accelerated_before_any_other_was_made_shows_hidden_states():
    """transformers knows a class's recordable outputs once one was made; here none was."""
    _run(_FIRST_USE)


@pytest.mark.parametrize("class_name", CLASSES)
def test_a_class_looks_like_stock(class_name, make_config):
    fast, stock = getattr(bertfast, class_name), getattr(transformers, class_name)
    assert issubclass(fast, stock)
    assert fast is not stock
    assert (fast.__name__, fast.__qualname__) == (stock.__name__, stock.__qualname__)
    assert inspect.signature(fast.forward) == inspect.signature(stock.forward)
    assert fast.forward.__doc__ == stock.forward.__doc__
    assert fast.base_model_prefix == stock.base_model_prefix
    assert fast.config_class is stock.config_class

    model = fast(make_config())
    assert isinstance(model, stock)
    assert isinstance(model, transformers.PreTrainedModel)
    assert isinstance(encoder_of(model), modeling_bert.BertModel)
    assert type(encoder_of(model)) is bertfast.BertModel
    assert model.base_model is encoder_of(model)
    assert model.can_generate() == stock(make_config()).can_generate()
    assert repr(model) == repr(stock(make_config()))


@pytest.mark.parametrize("class_name", CLASSES)
def test_a_constructor_has_stocks_signature(class_name):
    stock = getattr(transformers, class_name)
    assert inspect.signature(getattr(bertfast, class_name)) == inspect.signature(stock)


# ---- accelerate and restore.


class Retriever(nn.Module):
    """A user's own module around two encoders."""

    def __init__(self, make_encoder: Any) -> None:
        super().__init__()
        self.query = make_encoder()
        self.passages = nn.ModuleDict({"encoder": make_encoder()})

    def forward(self, **inputs):
        query = self.query(**inputs).last_hidden_state[:, 0]
        passages = self.passages["encoder"](**inputs).pooler_output
        return query @ passages.t()


@pytest.mark.parametrize("class_name", CLASSES)
def test_accelerate_and_restore_work_in_place(make_pair, batch, class_name):
    inputs = call_inputs(class_name, batch)
    pair = make_pair(class_name)
    model = pair.stock
    types = [type(module) for module in model.modules()]
    attributes = set(model.__dict__) | set(encoder_of(model).__dict__)
    expected = _plain(model, inputs)

    assert bertfast.accelerate(model) is model
    assert type(model) is getattr(bertfast, class_name)
    with counted() as calls:
        assert_same_output(_plain(model, inputs), expected, pair.bound)
    assert calls == {"fast": 1}

    assert bertfast.restore(model) is model
    assert [type(module) for module in model.modules()] == types
    assert set(model.__dict__) | set(encoder_of(model).__dict__) == attributes
    with counted() as calls:
        assert_same_output(_plain(model, inputs), expected, pair.bound)
    assert not calls


def test_restore_makes_stock_of_bertfasts_own_classes(make_pair, batch):
    pair = make_pair("BertForSequenceClassification")
    bertfast.restore(pair.fast)
    assert type(pair.fast) is transformers.BertForSequenceClassification
    assert type(pair.fast.bert) is transformers.BertModel
    with counted() as calls:
        assert_same_output(_plain(pair.fast, batch), _plain(pair.stock, batch), pair.bound)
    assert not calls


def test_a_users_own_module(make_config, batch):
    model = Retriever(lambda: transformers.BertModel(make_config())).eval()
    expected = _plain(model, batch)
    assert bertfast.accelerate(model) is model
    assert type(model) is Retriever
    with counted() as calls:
        torch.testing.assert_close(_plain(model, batch), expected, rtol=1e-5, atol=1e-4)
    assert calls == {"fast": 2}
    bertfast.restore(model)
    assert {type(m) for m in model.modules()} & {bertfast.BertModel} == set()


def test_accelerate_again_changes_the_options(pair, batch):
    padding = batch["attention_mask"] == 0
    for pad_outputs, seen in (("zero", False), ("exact", True), ("zero", False), ("auto", True)):
        bertfast.accelerate(pair.fast, pad_outputs=pad_outputs)
        states = _plain(pair.fast, batch).last_hidden_state
        assert bool(states[padding].abs().sum() > 0) == seen
        assert bertfast.explain(pair.fast).pad_outputs == pad_outputs


@pytest.mark.parametrize("option", [{"pad_outputs": "none"}, {"on_fallback": "ignore"}, {"pad_outputs": None}])
def test_options_are_checked_before_anything_changes(make_pair, option):
    model = make_pair().stock
    name, value = next(iter(option.items()))
    with pytest.raises(ValueError, match=f"{name}={value!r}.*expected one of"):
        bertfast.accelerate(model, **option)
    assert type(model) is transformers.BertModel


@pytest.mark.parametrize(
    ("thing", "found"),
    [(nn.Linear(2, 2), "Linear"), (nn.Sequential(), "Sequential"), ("bert-base", "str"), (None, "None")],
)
def test_what_holds_no_encoder_is_refused(thing, found):
    for function in (bertfast.accelerate, bertfast.explain):
        with pytest.raises(bertfast.UnsupportedModelError, match=found):
            function(thing)


def test_another_architecture_is_refused_and_left_alone():
    config = transformers.DistilBertConfig(vocab_size=9, dim=4, n_layers=1, n_heads=1, hidden_dim=4)
    model = transformers.DistilBertModel(config)
    with pytest.raises(bertfast.UnsupportedModelError, match="DistilBertModel"):
        bertfast.accelerate(model)
    assert type(model) is transformers.DistilBertModel


# ---- install and uninstall.


@pytest.mark.parametrize("class_name", CLASSES)
def test_install_reaches_models_that_others_made(make_pair, batch, installed, class_name):
    pair = make_pair(class_name)
    inputs = call_inputs(class_name, batch)
    with counted() as calls:
        actual = _plain(pair.stock, inputs)
    assert calls == {"fast": 1}
    assert bertfast.explain(pair.stock).first_token_only == (class_name in POOLED)
    bertfast.uninstall()
    with counted() as calls:
        assert_same_output(actual, _plain(pair.stock, inputs), pair.bound)
    assert not calls


def test_install_reaches_auto_classes(make_pair, batch, installed, tmp_path):
    make_pair("BertForSequenceClassification").stock.save_pretrained(tmp_path)
    for auto in (transformers.AutoModel, transformers.AutoModelForSequenceClassification):
        with counted() as calls:
            _plain(auto.from_pretrained(tmp_path), batch)
        assert calls == {"fast": 1}


def test_install_and_uninstall_are_idempotent_and_complete():
    classes = [getattr(modeling_bert, name) for name in CLASSES]
    before = [(cls.forward, "forward" in vars(cls)) for cls in classes]
    signatures = [inspect.signature(cls.forward) for cls in classes]
    bertfast.install()
    forwards = [cls.forward for cls in classes]
    bertfast.install()
    assert [cls.forward for cls in classes] == forwards
    assert [inspect.signature(cls.forward) for cls in classes] == signatures
    bertfast.uninstall()
    assert [(cls.forward, "forward" in vars(cls)) for cls in classes] == before
    bertfast.uninstall()
    assert [(cls.forward, "forward" in vars(cls)) for cls in classes] == before


@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification"])
def test_a_fallback_after_install_does_not_recurse(make_pair, batch, installed, class_name):
    pair = make_pair(class_name)
    for model in (pair.stock, pair.fast):
        model.train()
        with counted() as calls:
            model(**batch)
        assert calls["stock"] == 1
        assert calls["fast"] == 0


def test_models_of_bertfast_stay_fast_after_uninstall(pair, batch):
    bertfast.install()
    bertfast.uninstall()
    pair.check(**batch)


def test_restore_under_install_leaves_install_in_charge(pair, batch, installed):
    bertfast.accelerate(pair.stock, pad_outputs="zero")
    bertfast.restore(pair.stock)
    with counted() as calls:
        states = _plain(pair.stock, batch).last_hidden_state
    assert calls == {"fast": 1}
    assert (states[batch["attention_mask"] == 0].abs().sum(1) > 0).all()


# ---- Calls as others make them.


@needs_v5
def test_the_trainers_argument_is_accepted(make_pair, batch):
    pair = make_pair("BertForTokenClassification")
    labels = batch["input_ids"] % 2
    pair.check(**batch, labels=labels, num_items_in_batch=torch.tensor(7))


@pytest.mark.parametrize("way", ["class", "accelerate", "install"])
@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification", "BertForMaskedLM"])
def test_hidden_states_however_it_was_accelerated(request, make_pair, batch, class_name, way):
    pair = make_pair(class_name)
    expected = _plain(pair.stock, {**batch, "output_hidden_states": True})
    model = pair.fast if way == "class" else pair.stock
    if way == "accelerate":
        bertfast.accelerate(model)
    if way == "install":
        request.getfixturevalue("installed")
    for wanted in (True, False, True):
        with counted() as calls:
            actual = _plain(model, {**batch, "output_hidden_states": wanted})
        assert calls == {"fast": 1}
        assert ("hidden_states" in actual) == wanted
    assert_same_output(actual, expected, pair.bound)

    model.train()
    assert len(_plain(model, {**batch, "output_hidden_states": True}).hidden_states) == 3
    model.eval()


def test_positional_arguments(pair, batch):
    names = list(inspect.signature(transformers.BertModel.forward).parameters)[1:4]
    assert names == ["input_ids", "attention_mask", "token_type_ids"]
    with torch.no_grad(), counted() as calls:
        actual = pair.fast(*(batch[name] for name in names))
    assert calls == {"fast": 1}
    assert_same_output(actual, _plain(pair.stock, batch), pair.bound)


# ---- stats and explain.


def test_stats_count_calls(pair, batch):
    for _ in range(3):
        _plain(pair.fast, batch)
    pair.fast.train()
    _plain(pair.fast, batch)
    assert bertfast.stats() == {"fast": 3, "stock": 1, "stock: training mode": 1}
    assert bertfast.STATS["fast"] == 3
    bertfast.stats()["fast"] = 9
    assert bertfast.stats()["fast"] == 3
    report = bertfast.explain(pair.fast)
    assert (report.fast_calls, report.stock_calls) == (3, 1)


_TOKENS = ("path", "reason", "real_tokens", "computed_tokens", "padded_tokens", "first_token_only")


@pytest.mark.parametrize("way", ["class", "install"])
@pytest.mark.parametrize("class_name", CLASSES)
def test_explain_foretells_what_the_call_then_does(request, make_pair, batch, class_name, way):
    pair = make_pair(class_name)
    model = pair.fast if way == "class" else pair.stock
    if way == "install":
        request.getfixturevalue("installed")
    inputs = call_inputs(class_name, batch, labels=True)
    with counted() as calls:
        told = bertfast.explain(model, **inputs)
    assert not calls
    assert told.path == "fast"
    assert bertfast.explain(model).path == "not called yet"
    _plain(model, inputs)
    done = bertfast.explain(model)
    assert {name: getattr(told, name) for name in _TOKENS} == {name: getattr(done, name) for name in _TOKENS}


def test_explain_foretells_a_fallback(pair, batch):
    with counted() as calls:
        report = bertfast.explain(pair.fast, **batch, output_attentions=True)
    assert not calls
    assert (report.path, report.reason) == ("stock", "output_attentions")
    pair.fast.train()
    assert bertfast.explain(pair.fast, **batch).reason == "training mode"


def test_explain_counts_tokens(make_pair, batch):
    pair = make_pair("BertForSequenceClassification")
    _plain(pair.fast, batch)
    report = bertfast.explain(pair.fast)
    real = int(batch["attention_mask"].sum())
    assert (report.real_tokens, report.computed_tokens, report.padded_tokens) == (real, real, 65)
    assert report.first_token_only
    assert report.encoder == "BertModel"
    assert report.dtype == "torch.float32"
    assert report.as_dict()["path"] == "fast"
    assert f"{real} real, {real} computed of 65 padded" in str(report)


def test_explain_of_bad_input_raises_what_the_call_raises(pair, batch):
    with pytest.raises(bertfast.InputRangeError, match="input_ids"):
        bertfast.explain(pair.fast, input_ids=torch.tensor([[1000]]))
    with pytest.raises(TypeError):
        bertfast.explain(pair.fast, batch["input_ids"], input_ids=batch["input_ids"])


def test_explain_of_a_stock_model_says_what_to_do(pair):
    with pytest.raises(bertfast.UnsupportedModelError, match=r"bertfast\.accelerate"):
        bertfast.explain(pair.stock)


def test_explain_of_a_call_that_needs_no_encoder_says_so(pair):
    class Shortcut(torch.nn.Module):
        def __init__(self, bert):
            super().__init__()
            self.bert = bert

        def forward(self, x):
            return x

    with pytest.raises(bertfast.UnsupportedModelError, match="did not call its encoder"):
        bertfast.explain(Shortcut(pair.fast), torch.ones(1))
