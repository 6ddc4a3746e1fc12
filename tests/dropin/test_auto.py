"""Ways to a model that do not name its class give an accelerated one."""

from __future__ import annotations

import pytest
import torch
import transformers
from tolerances import assert_same_output

import bertfast
from bertfast import engines
from bertfast.options import Options
from dropin.helpers import counted

NAMES = {
    "AutoModel": "BertModel",
    "AutoModelForMaskedLM": "BertForMaskedLM",
    "AutoModelForSequenceClassification": "BertForSequenceClassification",
    "AutoModelForTokenClassification": "BertForTokenClassification",
    "AutoModelForQuestionAnswering": "BertForQuestionAnswering",
}


@pytest.fixture
def folder(request, stock_and_fast, make_config, tmp_path):
    """A saved model of the class that the test names."""
    pair = stock_and_fast(request.param, make_config(attn_implementation="sdpa"))
    pair.stock.save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "folder"), NAMES.items(), ids=NAMES, indirect=["folder"])
def test_from_pretrained(name, folder, batch):
    stock = getattr(transformers, name).from_pretrained(folder).eval()
    fast = getattr(bertfast, name).from_pretrained(folder).eval()
    assert type(fast) is getattr(bertfast, NAMES[name])
    with torch.no_grad(), counted() as calls:
        assert_same_output(fast(**batch), stock(**batch), 2e-6)
    assert calls == {"fast": 1}


def test_from_config(make_config):
    assert type(bertfast.AutoModel.from_config(make_config())) is bertfast.BertModel
    electra = transformers.ElectraConfig(hidden_size=16, num_attention_heads=2, intermediate_size=16, vocab_size=40)
    assert type(bertfast.AutoModel.from_config(electra)) is transformers.ElectraModel


def test_the_class_stands_for_transformers_own():
    assert issubclass(bertfast.AutoModel, transformers.AutoModel)
    assert bertfast.AutoModel.__name__ == "AutoModel"
    assert bertfast.AutoModel is bertfast.AutoModel
    assert not hasattr(bertfast, "AutoModelForNothing")


_OPTIONS = {"pad_outputs": "zero", "on_fallback": "raise", "cuda_graphs": False, "precision": "auto"}


@pytest.mark.parametrize("folder", ["BertModel"], indirect=True)
def test_options_of_accelerate_among_the_arguments(folder, make_config):
    """Of all that loads or makes a model; none of them reaches the configuration."""
    made = (
        bertfast.BertModel.from_pretrained(folder, **_OPTIONS),
        bertfast.BertModel.from_pretrained(folder, output_loading_info=True, **_OPTIONS)[0],
        bertfast.AutoModel.from_pretrained(folder, **_OPTIONS),
        bertfast.AutoModel.from_pretrained(folder, output_loading_info=True, **_OPTIONS)[0],
        bertfast.AutoModel.from_config(make_config(), **_OPTIONS),
        bertfast.AutoModelForMaskedLM.from_config(make_config(), **_OPTIONS).bert,
    )
    for model in made:
        assert engines.of(model).options == Options(**_OPTIONS)
        assert not _OPTIONS.keys() & model.config.to_dict().keys()


def test_options_that_do_not_exist_are_refused_before_anything_is_made():
    for make in (
        bertfast.BertModel.from_pretrained,
        bertfast.AutoModel.from_pretrained,
        bertfast.AutoModel.from_config,
    ):
        with pytest.raises(ValueError, match="pad_outputs='none'"):
            make(None, pad_outputs="none")


def test_from_config_refuses_what_it_cannot_have():
    electra = transformers.ElectraConfig(hidden_size=16, num_attention_heads=2, intermediate_size=16, vocab_size=40)
    with pytest.raises(bertfast.UnsupportedModelError):
        bertfast.AutoModel.from_config(electra, precision="bfloat16")


@pytest.mark.slow
def test_pipeline(minilm):
    texts = ["A short text.", "Another one, and this one is rather longer than the first."]
    results = [
        module.pipeline("feature-extraction", model=str(minilm), device="cpu")(texts)
        for module in (transformers, bertfast)
    ]
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(torch.tensor(actual), torch.tensor(expected), rtol=1e-4, atol=1e-5)
    pipe = bertfast.pipeline("feature-extraction", model=str(minilm), device="cpu")
    with counted() as calls:
        pipe(texts)
    assert calls == {"fast": 2}
