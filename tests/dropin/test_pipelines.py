"""Pipelines and the Trainer give the same results around an accelerated model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transformers

import bertfast
from dropin.helpers import counted, needs_v4
from dropin.pipelines import assert_same_result

TEXTS = [
    "A short text.",
    "Another text, somewhat longer than the first, which is therefore padded in a batch.",
    "One",
    "The quick brown fox jumps over the lazy dog, and nobody reads the padding behind it.",
]


PIPELINES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "text-classification": ("BertForSequenceClassification", TEXTS, {"top_k": None}),
    "token-classification": ("BertForTokenClassification", TEXTS, {"aggregation_strategy": "none"}),
    "fill-mask": ("BertForMaskedLM", [f"{text} [MASK]" for text in TEXTS], {"top_k": 3}),
    "feature-extraction": ("BertModel", TEXTS, {}),
    "zero-shot-classification": (
        "BertForSequenceClassification",
        TEXTS,
        {"candidate_labels": ["sport", "cooking", "law"]},
    ),
    "question-answering": ("BertForQuestionAnswering", {"question": TEXTS[0], "context": TEXTS[1]}, {}),
}


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize(
    "task",
    [pytest.param(t, marks=needs_v4 if t == "question-answering" else ()) for t in PIPELINES],
)
def test_a_pipeline_gives_the_same(make_model, tokenizer, caplog, task, batch_size):
    class_name, data, options = PIPELINES[task]
    pair = make_model(class_name)
    options = {"batch_size": batch_size, **options}
    if task == "feature-extraction":
        options = {"batch_size": batch_size, "tokenize_kwargs": {"padding": True}}
    expected = transformers.pipeline(task, model=pair.stock, tokenizer=tokenizer)(data, **options)

    pipeline = bertfast.pipeline(task, model=pair.fast, tokenizer=tokenizer)
    assert not [r for r in caplog.records if "not supported for" in r.getMessage()]
    with counted() as calls:
        assert_same_result(pipeline(data, **options), expected)
    assert calls["fast"] > 0
    assert calls["stock"] == 0


def test_a_pipeline_accelerated_in_place(make_model, tokenizer):
    pair = make_model("BertForSequenceClassification")
    pipeline = transformers.pipeline("text-classification", model=pair.stock, tokenizer=tokenizer)
    expected = pipeline(TEXTS, batch_size=4)
    assert bertfast.accelerate(pipeline) is pipeline
    with counted() as calls:
        assert_same_result(pipeline(TEXTS, batch_size=4), expected)
    assert calls == {"fast": 1}
    assert bertfast.explain(pipeline).computed_tokens < bertfast.explain(pipeline).padded_tokens
    assert bertfast.restore(pipeline) is pipeline
    with counted() as calls:
        assert_same_result(pipeline(TEXTS, batch_size=4), expected)
    assert not calls


def test_a_pipeline_under_install(make_model, tokenizer):
    pair = make_model("BertForTokenClassification")
    pipeline = transformers.pipeline("token-classification", model=pair.stock, tokenizer=tokenizer)
    expected = pipeline(TEXTS, batch_size=4)
    with bertfast.installed(), counted() as calls:
        assert_same_result(pipeline(TEXTS, batch_size=4), expected)
    assert calls == {"fast": 1}


@pytest.mark.parametrize("class_name", ["BertForSequenceClassification", "BertForTokenClassification"])
def test_the_trainer_predicts_the_same(make_model, tokenizer, tmp_path, class_name):
    pytest.importorskip("accelerate", reason="the Trainer needs the package accelerate")
    pair = make_model(class_name)
    data = [dict(tokenizer(text)) for text in TEXTS]
    arguments = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    collator = transformers.DataCollatorWithPadding(tokenizer)
    expected, actual = (
        transformers.Trainer(model, arguments, data_collator=collator).predict(data).predictions
        for model in (pair.stock, pair.fast)
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
