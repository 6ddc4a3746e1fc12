"""The names, signatures and types of bertfast are transformers' own."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import pytest
import transformers
from parity.heads import CLASSES
from transformers.models.bert import modeling_bert

import bertfast
from dropin.helpers import encoder_of


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


def _run(script: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, timeout=120)


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
