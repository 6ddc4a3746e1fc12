"""sentence-transformers gives the same results around an accelerated model, here the real MiniLM."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import bertfast
from dropin.helpers import counted

TEXTS = [
    "A short text.",
    "Another text, somewhat longer than the first, which is therefore padded in a batch.",
    "One",
    "The quick brown fox jumps over the lazy dog, and nobody reads the padding behind it.",
]


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
    with bertfast.installed(), counted() as calls:
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
