"""`accelerate`, `restore` and ``on_fallback="raise"`` on what other libraries build around an encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn

import bertfast
from dropin.helpers import counted, output_of, state_of

TEXTS = ["A short text.", "Another text, somewhat longer than the first, and padded in a batch."]


@pytest.fixture(scope="module")
def sentence_transformers() -> Any:
    return pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")


@pytest.fixture(scope="module")
def tokenizer(minilm) -> Any:
    return transformers.AutoTokenizer.from_pretrained(minilm)


# ---- restore gives back what was.


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SentenceTransformer", "CrossEncoder"])
def test_restore_of_sentence_transformers(sentence_transformers, minilm, name):
    options = {"num_labels": 1} if name == "CrossEncoder" else {}
    model = getattr(sentence_transformers, name)(str(minilm), device="cpu", **options)
    before = state_of(model)
    with bertfast.accelerated(model):
        assert state_of(model) != before
    assert state_of(model) == before
    bertfast.restore(bertfast.accelerate(model))
    assert state_of(model) == before


def test_restore_of_an_encoder_decoder_model(make_config):
    config = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(
        make_config(attn_implementation="sdpa"),
        make_config(attn_implementation="sdpa", is_decoder=True, add_cross_attention=True),
    )
    model = transformers.EncoderDecoderModel(config=config).eval()
    before = state_of(model)
    bertfast.accelerate(model)
    assert state_of(model) != before
    bertfast.restore(model)
    assert state_of(model) == before


# ---- Pipelines.


@pytest.mark.parametrize("pad_outputs", ["auto", "exact", "zero"])
@pytest.mark.parametrize("task", ["token-classification", "fill-mask"])
def test_a_pipeline_of_tokens(make_config, stock_and_fast, tokenizer, task, pad_outputs):
    """Padding is left out where nobody sees it (test_pipelines_watched.py); what the user asks for goes first."""
    name = {"token-classification": "BertForTokenClassification", "fill-mask": "BertForMaskedLM"}[task]
    model = stock_and_fast(name, make_config(vocab_size=30522, attn_implementation="sdpa")).stock
    pipe = transformers.pipeline(task, model=model, tokenizer=tokenizer)
    texts = [f"{text} [MASK]" for text in TEXTS]
    expected = pipe(texts, batch_size=2)
    bertfast.accelerate(pipe, pad_outputs=pad_outputs)
    found = pipe(texts, batch_size=2)
    report = bertfast.explain(pipe)
    assert report.computed_tokens == (report.padded_tokens if pad_outputs == "exact" else report.real_tokens)
    for answers, wanted in zip(found, expected, strict=True):
        assert [a.get("word", a.get("token_str")) for a in answers] == [
            a.get("word", a.get("token_str")) for a in wanted
        ]
        np.testing.assert_allclose([a["score"] for a in answers], [a["score"] for a in wanted], rtol=1e-4)


def test_a_pipeline_keeps_the_options_of_an_accelerated_model(make_config, stock_and_fast, tokenizer):
    pair = stock_and_fast("BertModel", make_config(vocab_size=30522), pad_outputs="zero", on_fallback="raise")
    pipe = bertfast.pipeline("feature-extraction", model=pair.fast, tokenizer=tokenizer)
    pipe(TEXTS, batch_size=2)
    report = bertfast.explain(pipe)
    assert report.pad_outputs == "zero"
    assert report.computed_tokens == report.real_tokens


# ---- on_fallback="raise": no call runs stock.


def test_a_pipeline_raises_instead_of_running_stock(make_config, stock_and_fast, tokenizer):
    model = stock_and_fast("BertForSequenceClassification", make_config(vocab_size=30522)).stock
    pipe = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer)
    bertfast.accelerate(pipe, on_fallback="raise")
    pipe(TEXTS, batch_size=2)
    model.bert.encoder.layer[1].output.register_forward_hook(lambda module, args, output: None)
    with pytest.raises(bertfast.FallbackError, match=r"a hook on encoder\.layer\.1\.output"):
        pipe(TEXTS)


@pytest.mark.slow
def test_sentence_transformers_raises_instead_of_running_stock(sentence_transformers, minilm):
    model = sentence_transformers.SentenceTransformer(str(minilm), device="cpu")
    bertfast.accelerate(model, on_fallback="raise")
    model.encode(TEXTS)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(bertfast.FallbackError, match="autocast"):
        model.encode(TEXTS)


def test_a_users_module_raises_and_goes_on_afterwards(make_pair, batch):
    model = nn.ModuleDict({"bert": make_pair().stock})
    bertfast.accelerate(model, on_fallback="raise")
    with pytest.raises(bertfast.FallbackError, match=r"output_attentions.*on_fallback is 'raise'"):
        output_of(model["bert"], {**batch, "output_attentions": True})
    with pytest.raises(bertfast.FallbackError, match="training mode"):
        output_of(model.train()["bert"], batch)
    with counted() as calls:
        output_of(model.eval()["bert"], batch)
    assert calls == {"fast": 1}
