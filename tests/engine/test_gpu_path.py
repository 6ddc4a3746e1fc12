"""A GPU's way through the engine gives what stock gives; the ops' references stand for the kernels."""

from __future__ import annotations

import pytest
import torch
from parity.heads import CLASSES, call_inputs
from tolerances import TOLERANCES, assert_gradients_close, assert_same_output

import bertfast
from bertfast import engines

_SIDES = ["right", "left", "holed"]


@pytest.mark.parametrize("side", _SIDES)
@pytest.mark.parametrize("class_name", CLASSES)
def test_heads(class_name, side, config, fake_gpu, stock_and_fast, make_batch):
    pair = stock_and_fast(class_name, config)
    inputs = call_inputs(class_name, make_batch(config, side=side), labels=True)
    for _ in range(3):  # as it is, captured, replayed
        pair.check(**inputs)
    pair.check(**inputs, output_hidden_states=True)


@pytest.mark.parametrize("pad_outputs", ["exact", "zero"])
@pytest.mark.parametrize("side", _SIDES)
def test_padding_is_what_it_is_on_a_cpu(side, pad_outputs, config, make_gpu, stock_and_fast, make_batch):
    batch = make_batch(config, side=side)
    expected, _ = stock_and_fast("BertModel", config, pad_outputs=pad_outputs).outputs(**batch)
    for rows in (0, 10_000):
        make_gpu(rows=rows)
        actual, _ = stock_and_fast("BertModel", config, pad_outputs=pad_outputs).outputs(**batch)
        assert_same_output(actual, expected, 1e-5)
        assert torch.equal(actual[0] == 0, expected[0] == 0)


_FEEDS = {
    "no mask": lambda b: {**b, "attention_mask": None},
    "no types": lambda b: {**b, "token_type_ids": None},
    "int32 ids": lambda b: {name: t.int() if name != "attention_mask" else t for name, t in b.items()},
    "positions": lambda b: {**b, "position_ids": torch.arange(b["input_ids"].shape[1]).flip(0).unsqueeze(0)},
    "float mask": lambda b: {**b, "attention_mask": b["attention_mask"].double()},
}


@pytest.mark.parametrize("feed", _FEEDS)
def test_feeds(feed, make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("relu-3x3x5")
    pair = stock_and_fast("BertForSequenceClassification", config)
    pair.check(**_FEEDS[feed](make_batch(config, side="holed")))


@pytest.mark.parametrize("masked", [False, True])
def test_given_embeddings(masked, make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu_new-2x2x64")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    embeds = torch.randn(*batch["input_ids"].shape, config.hidden_size)
    pair.check(inputs_embeds=embeds, **({"attention_mask": batch["attention_mask"]} if masked else {}))


def test_gradients(make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu_new-2x2x64")
    pair, batch = stock_and_fast("BertForSequenceClassification", config), make_batch(config, side="holed")
    for model in (pair.stock, pair.fast):
        model(**batch, labels=torch.zeros(5, dtype=torch.long)).loss.backward()
    fast, stock = ({name: p.grad for name, p in model.named_parameters()} for model in (pair.fast, pair.stock))
    assert_gradients_close(fast, stock, TOLERANCES[torch.float32].gradient)


@torch.no_grad()
def test_soak(make_config, make_gpu, stock_and_fast, make_batch):
    """Many shapes: graphs stay bounded, nothing is left pending, every result is right."""
    gpu = make_gpu(rows=64)
    config = make_config("gelu-1x2x32")
    pair = stock_and_fast("BertForSequenceClassification", config)
    generator = torch.Generator().manual_seed(0)
    for step in range(300):
        count = int(torch.randint(1, 12, (1,), generator=generator))
        lengths = torch.randint(1, 65, (count,), generator=generator).tolist()
        batch = make_batch(config, lengths, seed=step)
        if step % 10 == 0:
            pair.check(**batch)
        else:
            pair.fast(**batch)
    engine = engines.of(pair.fast.bert)
    assert len(engine._deferred) <= 1
    graphs = engine.preparation.graphs
    assert bertfast.explain(pair.fast).cuda_graphs == len(graphs)
    assert len(graphs) == len(gpu.pools[0].captured) <= graphs.limits.max_graphs


def test_a_gpu_without_kernels_for_it(make_config, make_gpu, stock_and_fast, make_batch, monkeypatch, caplog):
    """No binary, or one of other architectures: stock runs and the cure is told, or is the error."""
    gpu, config = make_gpu(), make_config("relu-3x3x5")
    reason = "bertfast._C holds no code for sm_120; build it again: TORCH_CUDA_ARCH_LIST=12.0 pip install ."
    monkeypatch.setattr(gpu, "unserved", lambda *kind: reason, raising=False)
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    with torch.no_grad():
        assert_same_output(pair.fast(**batch), pair.stock(**batch), 0)
    assert (bertfast.explain(pair.fast).path, bertfast.explain(pair.fast).reason) == ("stock", reason)
    assert [reason in text for text in caplog.messages] == [True]
    bertfast.accelerate(pair.fast, on_fallback="raise")
    with pytest.raises(bertfast.FallbackError, match=r"TORCH_CUDA_ARCH_LIST=12\.0"):
        pair.fast(**batch)
