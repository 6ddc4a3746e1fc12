"""``bertfast.pipeline`` takes the options of ``accelerate``."""

from __future__ import annotations

import pytest
import transformers

import bertfast
from bertfast.errors import FallbackError, ReleasedWeightsError, UnsupportedModelError
from dropin.pipelines import assert_same_result
from dropin.test_pipelines import PIPELINES, TEXTS

# Each refuses keywords that it does not know, or ignores them.
TASKS = ("text-classification", "token-classification", "fill-mask", "feature-extraction", "zero-shot-classification")


@pytest.mark.parametrize("task", TASKS)
def test_a_precision(make_model, tokenizer, task, precision):
    class_name, data, options = PIPELINES[task]
    pipe = bertfast.pipeline(task, model=make_model(class_name).stock, tokenizer=tokenizer, precision=precision)
    pipe(data, **options)
    report = bertfast.explain(pipe)
    assert (report.path, report.matmul_precision) == ("fast", precision)


def test_giving_up_the_originals(make_model, tokenizer, precision):
    stock = make_model("BertForSequenceClassification").stock
    options = {"precision": precision, "keep_original": False}
    pipe = bertfast.pipeline("text-classification", model=stock, tokenizer=tokenizer, **options)
    pipe(TEXTS)
    with pytest.raises(ReleasedWeightsError):
        pipe.model.state_dict()


def test_what_happens_to_padding_and_on_a_fallback(make_model, tokenizer):
    pair = make_model("BertForTokenClassification")
    expected = transformers.pipeline("token-classification", model=pair.stock, tokenizer=tokenizer)(TEXTS)
    options = {"pad_outputs": "exact", "on_fallback": "raise", "cuda_graphs": False}
    pipe = bertfast.pipeline("token-classification", pair.stock, tokenizer=tokenizer, **options)
    assert_same_result(pipe(TEXTS, batch_size=4), expected)
    report = bertfast.explain(pipe)
    assert report.pad_outputs == "exact"
    assert report.computed_tokens == report.padded_tokens
    with pytest.raises(FallbackError):
        pipe.model.train()(**tokenizer(TEXTS[0], return_tensors="pt"))


def test_a_model_keeps_its_options_unless_others_are_given(make_model, tokenizer):
    model = bertfast.accelerate(make_model("BertForSequenceClassification").stock, pad_outputs="zero")
    for options, expected in (({}, "zero"), ({"pad_outputs": "exact"}, "exact"), ({"pad_outputs": "auto"}, "auto")):
        pipe = bertfast.pipeline("text-classification", model=model, tokenizer=tokenizer, **options)
        assert bertfast.explain(pipe).pad_outputs == expected


@pytest.mark.parametrize("options", [{"precision": "fp8"}, {"pad_outputs": "none"}, {"on_fallback": "no"}], ids=str)
def test_options_that_do_not_exist_are_refused_before_anything_is_loaded(tmp_path, options):
    with pytest.raises(ValueError, match="expected one of"):
        bertfast.pipeline("text-classification", model=str(tmp_path), **options)


def test_other_models_take_no_options(tokenizer):
    config = transformers.DistilBertConfig(vocab_size=30522, dim=16, hidden_dim=16, n_heads=2, n_layers=1)
    model = transformers.DistilBertForSequenceClassification(config)
    parts = {"task": "text-classification", "model": model, "tokenizer": tokenizer}
    with pytest.raises(UnsupportedModelError, match="holds no transformers BertModel"):
        bertfast.pipeline(**parts, precision="bfloat16")
    for options in ({}, {"precision": None}):
        assert type(bertfast.pipeline(**parts, **options).model) is type(model)
