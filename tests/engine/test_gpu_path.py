"""What the engine does for a GPU, with the ops' references in the place of the kernels."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from parity.heads import CLASSES, call_inputs
from tolerances import TOLERANCES, assert_close, assert_gradients_close, assert_same_output

import bertfast
from bertfast import InputRangeError, encoder
from bertfast.engine import Engine

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


@pytest.mark.parametrize("side", _SIDES)
@torch.no_grad()
def test_replays_give_the_bits_of_launches(side, make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu-1x2x32")
    eager = stock_and_fast("BertForSequenceClassification", config, cuda_graphs=False)
    replaying = stock_and_fast("BertForSequenceClassification", config)
    batches = [make_batch(config, lengths, side, seed) for seed, lengths in enumerate([(9, 4, 13), (10, 3, 12)] * 3)]
    for batch in batches:
        assert torch.equal(eager.fast(**batch).logits, replaying.fast(**batch).logits)
    without, having = fake_gpu.pools
    assert without.captured == []
    assert [graph.replays for graph in having.captured] == [5]


@torch.no_grad()
def test_outputs_are_the_callers_own(make_config, fake_gpu, stock_and_fast, make_batch):
    """A later replay writes over the memory of an earlier one, but over nobody's outputs."""
    config = make_config("gelu-1x2x32")
    pair = stock_and_fast("BertModel", config)
    for first in (make_batch(config, (13, 13), seed=1), make_batch(config, (13, 5), seed=1)):
        kept = pair.fast(**first).last_hidden_state
        expected = kept.clone()
        for seed in range(3):
            pair.fast(**make_batch(config, (13, 13), seed=seed)).last_hidden_state.zero_()
        assert torch.equal(kept, expected)


@torch.no_grad()
def test_rows_of_an_earlier_batch_reach_nobody(make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu-1x2x32")
    pair = stock_and_fast("BertModel", config)
    small = make_batch(config, (3, 5))
    expected = pair.fast(**small).last_hidden_state
    poisoned = torch.full((2, 8, config.hidden_size), torch.nan)
    for _ in range(2):
        pair.fast(inputs_embeds=poisoned, attention_mask=torch.ones(2, 8))
    assert torch.equal(pair.fast(**small).last_hidden_state, expected)


@torch.no_grad()
def test_weights_that_moved_drop_the_graphs(make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu-1x2x32")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    for _ in range(3):
        pair.fast(**batch)
    for model in (pair.stock, pair.fast):
        norm = model.encoder.layer[0].output.LayerNorm
        norm.weight = torch.nn.Parameter(norm.weight * 2)
    for _ in range(3):
        pair.check(**batch)
    assert [len(pool.captured) for pool in fake_gpu.pools] == [1, 1]


@torch.no_grad()
def test_weights_changed_in_place_are_in_the_next_replay(make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu-1x2x32")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    for _ in range(3):
        pair.check(**batch)
    for model in (pair.stock, pair.fast):
        model.encoder.layer[0].attention.self.query.weight.data[3, 5] += 4
    pair.check(**batch)


def test_inference_mode_and_gradients_share_graphs(make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu-1x2x32")
    pair, batch = stock_and_fast("BertForSequenceClassification", config), make_batch(config)
    modes = [torch.inference_mode, torch.no_grad, torch.enable_grad]
    for mode in modes * 3 + modes[::-1]:
        with mode():
            output = pair.fast(**batch).logits
            assert output.is_inference() == torch.is_inference_mode_enabled()
            assert_same_output(output, pair.stock(**batch).logits, pair.bound)
    assert len(fake_gpu.pools[0].captured) == 1


@torch.no_grad()
def test_large_batches_are_not_captured(make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu-1x2x32")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config, (64,) * 40)
    for _ in range(3):
        pair.check(**batch)
    assert fake_gpu.pools[0].captured == []


@torch.no_grad()
def test_threads_share_graphs(make_config, fake_gpu, stock_and_fast, make_batch):
    config = make_config("gelu-1x2x32")
    pair = stock_and_fast("BertForSequenceClassification", config)
    batches = [make_batch(config, (2 + i, 5, 9), seed=i) for i in range(6)]
    expected = [pair.fast(**batch).logits for batch in batches]
    barrier = threading.Barrier(4)

    def work(thread):
        barrier.wait(30)
        with torch.no_grad():
            return [pair.fast(**batches[(thread + i) % 6]).logits for i in range(18)]

    with ThreadPoolExecutor(4) as pool:
        for thread, results in enumerate(pool.map(work, range(4))):
            for i, result in enumerate(results):
                assert torch.equal(result, expected[(thread + i) % 6])


# Bad values in the device's memory.


def _bad(batch, name, value):
    wrong = batch[name].clone()
    wrong[1, 1] = value
    return {**batch, name: wrong}


_BAD_IDS = [("input_ids", 97), ("input_ids", -1), ("token_type_ids", 3), ("input_ids", -(2**63))]


@pytest.mark.parametrize(("name", "value"), _BAD_IDS)
def test_ids_are_refused_at_once_by_who_waits(name, value, make_config, make_gpu, stock_and_fast, make_batch):
    make_gpu()
    config = make_config("relu-3x3x5")
    fast, batch = stock_and_fast("BertModel", config).fast, make_batch(config)
    with pytest.raises(InputRangeError, match=rf"^{name}: found {value}, but the ids"):
        fast(**_bad(batch, name, value))
    fast(**batch)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize(("name", "value"), _BAD_IDS)
def test_ids_are_refused_by_the_next_call(name, value, mask, make_config, make_gpu, stock_and_fast, make_batch):
    make_gpu(rows=10_000)
    config = make_config("relu-3x3x5")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    if not mask:
        del batch["attention_mask"]
    pair.fast(**_bad(batch, name, value))
    with pytest.raises(InputRangeError, match=rf"^an earlier call .*{name} outside of 0 to \d+, and its outputs"):
        pair.fast(**batch)
    pair.check(**batch)


def test_positions_are_refused_by_the_next_call(make_config, make_gpu, stock_and_fast, make_batch):
    make_gpu(rows=10_000)
    config = make_config("relu-3x3x5")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    pair.fast(**batch, position_ids=torch.full((1, 13), 64))
    with pytest.raises(InputRangeError, match="position_ids outside of 0 to 63"):
        pair.fast(**batch)
    pair.check(**batch)


def test_a_row_without_keys(make_config, make_gpu, stock_and_fast, make_batch):
    config = make_config("relu-3x3x5")
    batch = make_batch(config)
    empty = {**batch, "attention_mask": batch["attention_mask"].clone()}
    empty["attention_mask"][2] = 0
    make_gpu()
    waiting = stock_and_fast("BertModel", config).fast
    assert bertfast.explain(waiting, **empty).reason == "a row without any attended token"
    make_gpu(rows=10_000)
    pair = stock_and_fast("BertModel", config)
    pair.fast(**empty)
    with pytest.raises(InputRangeError, match="a row without any attended token"):
        pair.fast(**batch)
    pair.check(**batch)


def test_what_nobody_waited_for_is_not_reported(make_config, make_gpu, stock_and_fast, make_batch):
    make_gpu(rows=10_000)
    config = make_config("relu-3x3x5")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    pair.check(**batch)
    report = bertfast.explain(pair.fast)
    assert (report.real_tokens, report.computed_tokens, report.padded_tokens) == (None, 65, 65)
    assert "uncounted" in str(report)


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
    engine = Engine.of(pair.fast.bert)
    assert len(engine._deferred) <= 1
    graphs = engine.graphs
    assert bertfast.explain(pair.fast).cuda_graphs == len(graphs)
    assert len(graphs) == len(gpu.pools[0].captured) <= graphs.limits.max_graphs


# Warming up.


@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification"])
@torch.no_grad()
def test_after_a_warm_up_nothing_is_captured(class_name, make_config, make_gpu, stock_and_fast, make_batch):
    gpu = make_gpu(rows=32)
    config = make_config("gelu-1x2x32")
    pair = stock_and_fast(class_name, config, pad_outputs="zero")
    made = bertfast.warmup(pair.fast, batch_size=4, max_length=30)
    assert made == len(gpu.pools[0].captured) > 3
    for lengths in ((30,), (3,), (30, 30, 30, 30), (1, 1), (9, 4, 17)):
        pair.fast(**make_batch(config, lengths))
        pair.fast(**make_batch(config, lengths))
    assert len(gpu.pools[0].captured) == made
    assert bertfast.warmup(pair.fast, batch_size=4, max_length=30) == 0


@torch.no_grad()
def test_a_warm_up_finds_the_head_inside_a_module(make_config, make_gpu, stock_and_fast, make_batch):
    gpu = make_gpu()
    config = make_config("gelu-1x2x32")
    head = stock_and_fast("BertForSequenceClassification", config).fast
    made = bertfast.warmup(torch.nn.ModuleList([head]), batch_size=2, max_length=9)
    for _ in range(3):
        head(**make_batch(config, (9, 4)))
    assert len(gpu.pools[0].captured) == made > 0


def test_a_warm_up_beyond_the_limit_says_so(make_config, make_gpu, stock_and_fast, caplog):
    make_gpu()
    fast = stock_and_fast("BertModel", make_config("gelu-1x2x32", max_position_embeddings=512)).fast
    assert bertfast.warmup(fast, batch_size=128, max_length=512) == 128
    assert "128 CUDA graphs are kept, no more" in caplog.text
    assert bertfast.explain(fast).cuda_graphs == 128


def test_nothing_waits_inside_of_the_callers_graph(make_config, make_gpu, stock_and_fast, make_batch):
    gpu = make_gpu()
    config = make_config("relu-3x3x5")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    pair.fast(input_ids=batch["input_ids"])  # leaves a check that waits for the device
    gpu.capturing = True
    pair.check(**batch)
    assert bertfast.explain(pair.fast).real_tokens is None
    assert len(Engine.of(pair.fast)._deferred) == 1
    gpu.capturing = False
    pair.check(**batch)


def test_a_question_is_told_nothing_of_earlier_calls(make_config, make_gpu, stock_and_fast, make_batch):
    make_gpu(rows=10_000)
    config = make_config("relu-3x3x5")
    pair, batch = stock_and_fast("BertModel", config), make_batch(config)
    pair.fast(**_bad(batch, "input_ids", -1))
    assert bertfast.explain(pair.fast, **batch).path == "fast"
    with pytest.raises(InputRangeError, match="input_ids outside of 0 to 96"):
        pair.fast(**batch)


def test_a_warm_up_of_what_runs_stock_is_refused(make_config, stock_and_fast):
    fast = stock_and_fast("BertModel", make_config("gelu-1x2x32")).fast.train()
    with pytest.raises(bertfast.FallbackError, match=r"warmup: BertModel runs stock transformers \(training mode"):
        bertfast.warmup(fast, max_length=8)


@torch.no_grad()
def test_a_call_in_the_middle_of_a_call(make_config, make_gpu, stock_and_fast, make_batch, monkeypatch):
    """As a signal handler makes one: it may not touch what the interrupted call has put in."""
    make_gpu()
    config = make_config("gelu_new-2x2x64")
    pair = stock_and_fast("BertModel", config)
    outer, inner = make_batch(config, (9, 4), seed=1), make_batch(config, (8, 5), seed=2)
    expected = [pair.fast(**batch).last_hidden_state for batch in (outer, inner)]
    seen = []
    run_layer = encoder.run_layer

    def interrupted(*arguments):
        if not seen:
            seen.append(None)
            seen[0] = pair.fast(**inner).last_hidden_state
        return run_layer(*arguments)

    monkeypatch.setattr(encoder, "run_layer", interrupted)
    assert torch.equal(pair.fast(**outer).last_hidden_state, expected[0])
    assert_close(seen[0], expected[1], pair.bound)


def test_checks_after_one_that_raises_are_not_lost(make_config, make_gpu, stock_and_fast, make_batch):
    make_gpu(rows=10_000)
    config = make_config("relu-3x3x5")
    fast, batch = stock_and_fast("BertModel", config).fast, make_batch(config)
    checks = Engine.of(fast)._deferred
    for value in (-1, 97):
        fast(**_bad(batch, "input_ids", value))
        checks, Engine.of(fast)._deferred = Engine.of(fast)._deferred, checks.__class__()
    both = checks._pending + Engine.of(fast)._deferred._pending
    Engine.of(fast)._deferred._pending = both
    for _ in both:
        with pytest.raises(InputRangeError):
            fast(**batch)
    fast(**batch)


def test_a_warm_up_on_a_cpu_prepares_the_weights(make_config, stock_and_fast):
    fast = stock_and_fast("BertModel", make_config("gelu-1x2x32")).fast
    assert bertfast.warmup(fast, batch_size=2, max_length=8) == 0
    assert Engine.of(fast).weights is not None


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 8), "batch_size: expected a whole number of at least 1, got 0"),
        ((1.5, 8), "batch_size: .* got 1.5"),
        ((1, 65), "max_length: expected a whole number of 1 to 64, got 65"),
        ((1, "8"), "max_length: .* got '8'"),
    ],
)
def test_a_warm_up_refuses_sizes(sizes, message, make_config, stock_and_fast):
    with pytest.raises(ValueError, match=message):
        bertfast.warmup(stock_and_fast("BertModel", make_config("gelu-1x2x32")).fast, *sizes)
