"""The whole way of a GPU, from mask to logits, with the kernels emulated: real weights and real texts, against stock.

The matrices are multiplied by torch, as they are on a GPU; everything else is computed by csrc/kernels.
"""

from __future__ import annotations

import copy

import pytest
import torch
import transformers
from tolerances import TOLERANCES, assert_close, assert_no_further_from_truth, relative_error

import bertfast
from kernels.emulated_ops import KERNEL_OPS

_TEXTS = [
    "The cat sat on the mat.",
    "A kernel that nobody has run is a claim, not a fact; this one runs on every change.",
    "Short.",
]


@pytest.fixture(scope="module")
def batch(minilm):
    return transformers.AutoTokenizer.from_pretrained(minilm)(_TEXTS, padding=True, return_tensors="pt")


def _pair(minilm, class_name, dtype=torch.float32):
    """Stock and fast, equal weights; heads that MiniLM does not have are seeded."""
    models = []
    for module in (transformers, bertfast):
        torch.manual_seed(5)
        model = getattr(module, class_name).from_pretrained(minilm, dtype=dtype, num_labels=3)
        models.append(model.eval())
    return models


@pytest.mark.slow
@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification", "BertForTokenClassification"])
@torch.no_grad()
def test_real_weights(class_name, minilm, batch, calls, fake_gpu, all_fast):
    """Rows of padding, which a raw model shows, are so ill-conditioned that only the truth can tell who is right."""
    stock, fast = _pair(minilm, class_name)
    expected, truth = stock(**batch)[0], copy.deepcopy(stock).double()(**batch)[0]
    real = batch["attention_mask"].bool() if expected.dim() == 3 else slice(None)
    for _ in range(3):  # as it is, captured, replayed
        with all_fast(fast):
            actual = fast(**batch)[0]
        assert_no_further_from_truth(actual, expected, truth)
        assert_close(actual[real], expected[real], TOLERANCES[torch.float32].model)
    assert [graph.replays for graph in fake_gpu.pools[0].captured] == [2]
    used = {name for name, count in calls.counts.items() if count > 0}
    first_only = class_name == "BertForSequenceClassification"
    expected_ops = set(KERNEL_OPS) - (set() if first_only else {"first_token_attention", "gather_first"})
    assert used == expected_ops - ({"pad_input"} if first_only else set())


@pytest.mark.slow
@pytest.mark.parametrize("capability", [75, 80])
@torch.no_grad()
def test_half_precision(capability, minilm, batch, calls, fake_gpu, emulated):
    """As far from float32 as stock is in float16, within a factor; both round at other places."""
    emulated.set_compute_capability(capability)
    stock, fast = _pair(minilm, "BertForSequenceClassification", torch.float16)
    truth = _pair(minilm, "BertForSequenceClassification")[0](**batch).logits
    error, stock_error = (relative_error(model(**batch).logits, truth) for model in (fast, stock))
    assert error <= 2 * stock_error
    assert calls.counts["varlen_attention"] > 0


@pytest.mark.slow
@torch.no_grad()
def test_given_embeddings_and_positions(minilm, batch, calls, fake_gpu):
    stock, fast = _pair(minilm, "BertModel")
    columns = batch["input_ids"].shape[1]
    inputs = {
        "inputs_embeds": stock.embeddings.word_embeddings(batch["input_ids"]),
        "attention_mask": batch["attention_mask"],
        "position_ids": torch.arange(columns).flip(0).unsqueeze(0),
    }
    truth = copy.deepcopy(stock).double()(**{**inputs, "inputs_embeds": inputs["inputs_embeds"].double()})[0]
    assert_no_further_from_truth(fast(**inputs)[0], stock(**inputs)[0], truth)


@torch.no_grad()
def test_a_bad_id_is_clamped_and_told(make_config, stock_and_fast, make_batch, calls, fake_gpu):
    pair, batch = stock_and_fast("BertModel", make_config("gelu-1x2x32")), make_batch(make_config("gelu-1x2x32"))
    wrong = {**batch, "input_ids": batch["input_ids"].clone()}
    wrong["input_ids"][1, 1] = 2**40
    with pytest.raises(bertfast.InputRangeError, match="input_ids"):
        [pair.fast(**inputs) for inputs in (wrong, batch)]  # by the first, or by the next
    pair.check(**batch)
