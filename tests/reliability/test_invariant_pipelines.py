"""``invariant=True`` through what is built around an encoder: poolings, pipelines. Here with the real MiniLM."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import transformers

import bertfast

TEXTS = [
    "A short text.",
    "One",
    "Another text, somewhat longer than the first, which is therefore padded in a batch.",
    "The quick brown fox jumps over the lazy dog, and nobody reads the padding behind it. " * 6,
]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["mean", "cls", "max", "weightedmean", "lasttoken"])
def test_sentence_embeddings(mode, minilm):
    package = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    encoder = package.SentenceTransformer(str(minilm), device="cpu")[0]
    pooling = package.models.Pooling(384, pooling_mode=mode)
    dense = package.models.Dense(384, 48)
    model = package.SentenceTransformer(modules=[encoder, pooling, dense], device="cpu")
    expected = model.encode(TEXTS)
    bertfast.accelerate(model, invariant=True)
    together = model.encode(TEXTS, batch_size=4)
    assert bertfast.explain(model).computed_tokens == bertfast.explain(model).real_tokens
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-5)
    for text, found in zip(TEXTS, together, strict=True):
        np.testing.assert_array_equal(model.encode(text), found)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).encode(TEXTS), together)
    bertfast.restore(model)
    assert type(model[1]) is type(pooling) is package.models.Pooling
    np.testing.assert_array_equal(model.encode(TEXTS), expected)


@pytest.mark.slow
def test_a_pipeline(minilm):
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification.from_pretrained(minilm)
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
    pipe = bertfast.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu", invariant=True)
    assert pipe(TEXTS, batch_size=4) == [pipe(text)[0] for text in TEXTS] == pipe(TEXTS[::-1], batch_size=3)[::-1]
