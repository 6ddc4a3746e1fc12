"""Pipelines and sentence-transformers give the same results around an accelerated model."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import bertfast
from dropin.helpers import counted, needs_v4

TEXTS = [
    "A short text.",
    "Another text, somewhat longer than the first, which is therefore padded in a batch.",
    "One",
    "The quick brown fox jumps over the lazy dog, and nobody reads the padding behind it.",
]


@pytest.fixture(scope="module")
def tokenizer(minilm) -> Any:
    """MiniLM's tokenizer."""
    return transformers.AutoTokenizer.from_pretrained(minilm)


@pytest.fixture
def make_model(stock_and_fast: Callable[..., Any], make_config: Callable[..., Any]) -> Callable[..., Any]:
    """``make_model(class_name)``: a tiny stock and fast model with MiniLM's vocabulary."""

    def make(class_name: str) -> Any:
        return stock_and_fast(class_name, make_config(vocab_size=30522, attn_implementation="sdpa"))

    return make


def assert_same_result(actual: Any, expected: Any) -> None:
    """Equal JSON-like results, their numbers but for rounding."""
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        for name, value in expected.items():
            assert_same_result(actual[name], value)
    elif isinstance(expected, list):
        assert len(actual) == len(expected)
        for part, wanted in zip(actual, expected, strict=True):
            assert_same_result(part, wanted)
    elif isinstance(expected, float | np.floating):
        assert actual == pytest.approx(expected, rel=1e-4, abs=1e-5)
    else:
        assert actual == expected


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
    with _installed(), counted() as calls:
        assert_same_result(pipeline(TEXTS, batch_size=4), expected)
    assert calls == {"fast": 1}


@contextmanager
def _installed() -> Iterator[None]:
    bertfast.install()
    try:
        yield
    finally:
        bertfast.uninstall()


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


# ---- sentence-transformers, with the real MiniLM.


@pytest.fixture(scope="module")
def sentence_transformers() -> Any:
    """The package, which takes seconds to import."""
    return pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")


@pytest.mark.slow
@pytest.mark.parametrize("pad_outputs", ["auto", "zero"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_sentence_transformer_encodes_the_same(sentence_transformers, minilm, batch_size, pad_outputs):
    model = sentence_transformers.SentenceTransformer(str(minilm), device="cpu")
    expected = model.encode(TEXTS, batch_size=batch_size)
    assert bertfast.accelerate(model, pad_outputs=pad_outputs) is model
    with counted() as calls:
        actual = model.encode(TEXTS, batch_size=batch_size)
    assert calls == {"fast": 4 // batch_size}
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)
    assert bertfast.explain(model).path == "fast"

    bertfast.restore(model)
    with counted() as calls:
        np.testing.assert_array_equal(model.encode(TEXTS, batch_size=batch_size), expected)
    assert not calls


@pytest.mark.slow
def test_sentence_transformer_drops_the_padding_that_its_pooling_masks(sentence_transformers, minilm):
    model = bertfast.accelerate(sentence_transformers.SentenceTransformer(str(minilm), device="cpu"))
    model.encode(TEXTS, batch_size=4)
    report = bertfast.explain(model)
    assert report.real_tokens == report.computed_tokens < report.padded_tokens


@pytest.mark.slow
@pytest.mark.parametrize("seen_by", ["forward", "a hook", "pad_outputs", "another module"])
def test_sentence_transformer_computes_the_padding_that_can_be_seen(sentence_transformers, minilm, seen_by):
    model = sentence_transformers.SentenceTransformer(str(minilm), device="cpu")
    if seen_by == "another module":
        model.append(torch.nn.Identity())
    expected = model.encode(TEXTS, batch_size=4)
    bertfast.accelerate(model, pad_outputs="exact" if seen_by == "pad_outputs" else "auto")
    if seen_by == "a hook":
        model.register_forward_hook(lambda module, args, output: None)
    if seen_by == "forward":
        model(model.tokenize(TEXTS))
    else:
        np.testing.assert_allclose(model.encode(TEXTS, batch_size=4), expected, rtol=0, atol=1e-6)
    report = bertfast.explain(model)
    assert report.real_tokens < report.computed_tokens == report.padded_tokens


@pytest.mark.slow
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copied_sentence_transformer_is_fast_and_can_be_restored(sentence_transformers, minilm, duplicate):
    stock = sentence_transformers.SentenceTransformer
    model = duplicate(bertfast.accelerate(stock(str(minilm), device="cpu")))
    assert isinstance(model, stock)
    assert type(model).__name__ == "SentenceTransformer"
    embeddings = model.encode(TEXTS)
    report = bertfast.explain(model)
    assert (report.path, report.computed_tokens) == ("fast", report.real_tokens)
    assert type(bertfast.restore(model)) is stock
    np.testing.assert_allclose(model.encode(TEXTS), embeddings, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_saved_sentence_transformer_is_stocks(sentence_transformers, minilm, tmp_path):
    stock = sentence_transformers.SentenceTransformer(str(minilm), device="cpu")
    stock.save(str(tmp_path / "stock"))
    bertfast.accelerate(stock).save(str(tmp_path / "fast"))
    names = sorted(p.relative_to(tmp_path / "stock") for p in (tmp_path / "stock").rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(tmp_path / "fast") for p in (tmp_path / "fast").rglob("*") if p.is_file())
    for name in names:
        assert (tmp_path / "fast" / name).read_bytes() == (tmp_path / "stock" / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("output", ["token_embeddings", None])
def test_sentence_transformer_gives_other_outputs_too(sentence_transformers, minilm, output):
    model = sentence_transformers.SentenceTransformer(str(minilm), device="cpu")
    expected = model.encode(TEXTS, output_value=output)
    bertfast.accelerate(model)
    actual = model.encode(TEXTS, output_value=output)
    for part, wanted in zip(actual, expected, strict=True):
        part, wanted = ((value if output else value["token_embeddings"]) for value in (part, wanted))
        torch.testing.assert_close(part, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_cross_encoder_predicts_the_same(sentence_transformers, minilm):
    model = sentence_transformers.CrossEncoder(str(minilm), num_labels=1, device="cpu")
    pairs = [(TEXTS[0], text) for text in TEXTS]
    expected = model.predict(pairs, batch_size=4)
    assert bertfast.accelerate(model) is model
    with counted() as calls:
        actual = model.predict(pairs, batch_size=4)
    assert calls == {"fast": 1}
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    report = bertfast.explain(model)
    assert report.real_tokens == report.computed_tokens < report.padded_tokens
    assert model.rank(TEXTS[0], TEXTS)[0].keys() == {"corpus_id", "score"}


@pytest.mark.slow
def test_install_reaches_sentence_transformers(sentence_transformers, minilm):
    model = sentence_transformers.SentenceTransformer(str(minilm), device="cpu")
    expected = model.encode(TEXTS)
    with _installed(), counted() as calls:
        np.testing.assert_allclose(model.encode(TEXTS), expected, rtol=0, atol=1e-6)
    assert calls == {"fast": 1}


WATCHERS: dict[str, Callable[[Any], object]] = {
    "a pre-hook on the pooling": lambda m: m[1].register_forward_pre_hook(lambda module, args: None),
    "a forward of the pooling's own": lambda m: setattr(m[1], "forward", m[1].forward),
    "a forward of the encoder's own": lambda m: setattr(m[0].auto_model, "forward", m[0].auto_model.forward),
}


@pytest.mark.slow
@pytest.mark.parametrize("watch", WATCHERS.values(), ids=WATCHERS)
def test_who_watches_a_sentence_transformer_sees_its_padding(sentence_transformers, minilm, watch):
    model = bertfast.accelerate(sentence_transformers.SentenceTransformer(str(minilm), device="cpu"))
    watch(model)
    model.encode(TEXTS, batch_size=4)
    report = bertfast.explain(model)
    assert report.real_tokens < report.computed_tokens == report.padded_tokens


@pytest.mark.slow
def test_a_pooling_that_somebody_wrapped_sees_the_padding(sentence_transformers, minilm, monkeypatch):
    """Also where the function in its place has copied name and module of what it wraps."""
    model = bertfast.accelerate(sentence_transformers.SentenceTransformer(str(minilm), device="cpu"))
    pooling = type(model[1])
    stock = pooling.forward

    @functools.wraps(stock)
    def forward(self, features, *args, **kwargs):
        features["token_embeddings"] = features["token_embeddings"] + features["token_embeddings"].mean(1, keepdim=True)
        return stock(self, features, *args, **kwargs)

    monkeypatch.setattr(pooling, "forward", forward)
    actual = model.encode(TEXTS, batch_size=4)
    expected = bertfast.restore(model).encode(TEXTS, batch_size=4)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)
