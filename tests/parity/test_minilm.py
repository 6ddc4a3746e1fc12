"""Real weights on real text: all-MiniLM-L6-v2 over docstrings of the standard library."""

from __future__ import annotations

import pytest
import torch
import transformers
from tolerances import TOLERANCES, assert_no_further_from_truth, assert_same_output, relative_error

import bertfast
from parity.heads import CLASSES, POOLED, call_inputs


@pytest.fixture(scope="module")
def load(minilm):
    """``load(class_name)``: stock and fast, from the same files; heads that the files lack are stock's random ones."""

    def make(class_name):
        torch.manual_seed(0)
        stock = getattr(transformers, class_name).from_pretrained(minilm).eval()
        fast = getattr(bertfast, class_name).from_pretrained(minilm).eval()
        fast.load_state_dict(stock.state_dict())
        return stock, fast

    return make


@pytest.fixture(scope="module")
def encoders(load):
    return load("BertModel")


@torch.no_grad()
def test_encoder(encoders, real_text, all_fast):
    stock, fast = encoders
    batch = real_text(96)
    lengths = batch["attention_mask"].sum(1)
    assert lengths.min() < lengths.max(), "the texts should be ragged"
    with all_fast(fast):
        actual = fast(**batch, output_hidden_states=True)
    bound = TOLERANCES[torch.float32].model
    assert_same_output(actual, stock(**batch, output_hidden_states=True), bound)


@torch.no_grad()
def test_embeddings_of_sentences(encoders, real_text, all_fast):
    """What the model is for: the mean of the real tokens, normalised; padding dropped."""
    stock, fast = encoders
    batch = real_text(96)

    def embed(model):
        mask = batch["attention_mask"].unsqueeze(2)
        mean = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(mean)

    bertfast.accelerate(fast, pad_outputs="zero")
    try:
        with all_fast(fast):
            actual = embed(fast)
        assert bertfast.explain(fast).computed_tokens == batch["attention_mask"].sum()
    finally:
        bertfast.accelerate(fast)
    assert relative_error(actual, embed(stock)) <= TOLERANCES[torch.float32].model


@pytest.mark.slow
@pytest.mark.parametrize("class_name", CLASSES)
@torch.no_grad()
def test_every_class(class_name, load, real_text, all_fast):
    stock, fast = load(class_name)
    inputs = call_inputs(class_name, real_text(48))
    bound = TOLERANCES[torch.float32].model
    with all_fast(fast):
        actual = fast(**inputs)
    assert_same_output(actual, stock(**inputs), bound)
    if class_name in POOLED:
        # The same call on the full path: hidden states of every position.
        with all_fast(fast):
            actual = fast(**inputs, output_hidden_states=True)
        assert_same_output(actual, stock(**inputs, output_hidden_states=True), bound)


@pytest.fixture(scope="module")
def truths(load, real_text):
    """``truths(dtype, texts)``: a batch, stock's output in that dtype, and stock's in float64 with these weights."""
    found = {}

    @torch.no_grad()
    def find(dtype, texts):
        if (dtype, texts) not in found:
            batch = {name: value[:texts] for name, value in real_text(64).items()}
            stock, _ = load("BertModel")
            output = stock.to(dtype)(**batch)
            found[dtype, texts] = batch, output, stock.double()(**batch)
        return found[dtype, texts]

    return find


@pytest.mark.slow
@pytest.mark.parametrize("texts", [1, 8])
@pytest.mark.parametrize(
    ("backend", "dtype"),
    [
        ("auto", torch.float32),
        ("blas", torch.float32),
        ("onednn", torch.float32),
        ("portable", torch.float32),
        ("auto", torch.bfloat16),
        ("portable", torch.bfloat16),
    ],
    ids=str,
)
@torch.no_grad()
def test_no_further_from_the_truth_than_stock(backend, dtype, texts, load, truths, all_fast, monkeypatch):
    monkeypatch.setenv("BERTFAST_CPU_LINEAR", backend)
    batch, expected, truth = truths(dtype, texts)
    _, fast = load("BertModel")
    with all_fast(fast.to(dtype)):
        actual = fast(**batch)
    seen = batch["attention_mask"].bool()
    assert_no_further_from_truth(
        actual.last_hidden_state[seen], expected.last_hidden_state[seen], truth.last_hidden_state[seen]
    )
