"""Two models on the same batches: what is compared, what ran, and planted errors that must be found."""

from __future__ import annotations

import pytest
import torch

from bertfast.verification.comparison import compare
from bertfast.verification.limits import Limits, default_limits
from bertfast.verification.outputs import POOLED, by_text
from bertfast.verification.verdict import over_limits

_LIMITS = default_limits("float32")
_LENGTHS = (9, 4, 40, 2, 33)


@pytest.fixture
def models(stock_and_fast, make_config):
    def make(class_name, **changes):
        pair = stock_and_fast(class_name, make_config(attn_implementation="sdpa", **changes))
        return pair.stock, pair.fast

    return make


@pytest.fixture
def batches(make_batch, make_config):
    config = make_config()
    return [make_batch(config, _LENGTHS, seed=seed) for seed in (0, 1)]


def _excesses(stock, fast, batches):
    return over_limits(compare(stock, fast, batches, _LIMITS), _LIMITS)


_CLASSES = {
    "BertModel": {"last_hidden_state", "pooler_output", POOLED},
    "BertForMaskedLM": {"logits"},
    "BertForSequenceClassification": {"logits"},
    "BertForTokenClassification": {"logits"},
    "BertForQuestionAnswering": {"start_logits", "end_logits"},
    "BertForNextSentencePrediction": {"logits"},
    "BertForPreTraining": {"prediction_logits", "seq_relationship_logits"},
}


@pytest.mark.parametrize("class_name", _CLASSES)
def test_every_output_is_compared_and_within_the_limits(models, batches, class_name):
    stock, fast = models(class_name)
    found = compare(stock, fast, batches, _LIMITS)
    assert found.overall.keys() == found.buckets.keys() == _CLASSES[class_name]
    assert found.calls == {"fast": 2}
    assert found.all_fast
    assert found.lengths == [*_LENGTHS, *_LENGTHS]
    assert over_limits(found, _LIMITS) == []
    for name, overall in found.overall.items():
        assert overall.texts == 10
        assert {key: part.texts for key, part in found.buckets[name].items()} == {"1-16": 6, "33-64": 4}
        assert (overall.agreement is not None) == ("logits" in name)


def test_changed_weights_are_found(models, batches):
    stock, fast = models("BertModel")
    with torch.no_grad():
        fast.encoder.layer[0].intermediate.dense.weight[3, 5] += 0.01
    found = _excesses(stock, fast, batches)
    assert {excess.output for excess in found} == {"last_hidden_state", "pooler_output", POOLED}
    assert {excess.texts for excess in found} == {"all", "1-16", "33-64"}


@pytest.mark.parametrize("value", [1e-3, float("nan")])
def test_one_wrong_logit_is_found(models, batches, value):
    stock, fast = models("BertForTokenClassification")

    def spoil(module, args, output):
        output.logits[2, 7, 1] += value

    fast.register_forward_hook(spoil)
    found = _excesses(stock, fast, batches)
    assert ("logits", "all") in {(excess.output, excess.texts) for excess in found}
    assert {excess.worst_text for excess in found} <= {2, 7}
    assert "1-16" not in {excess.texts for excess in found}


def test_a_flipped_choice_is_found_though_the_error_is_small(models, batches):
    stock, fast = models("BertForSequenceClassification")

    def swap(module, args, output):
        output.logits[0] = output.logits[0].flip(-1)

    fast.register_forward_hook(swap)
    generous = Limits(relative_error=10.0, cosine=0.0, reason="", agreement=1.0)
    found = over_limits(compare(stock, fast, batches, generous), generous)
    assert {excess.measure for excess in found} == {"argmax agreement"}


def test_an_error_of_padding_is_none(models, batches):
    stock, fast = models("BertModel")

    def spoil(module, args, kwargs, output):
        output.last_hidden_state[kwargs["attention_mask"] == 0] = float("nan")

    fast.register_forward_hook(spoil, with_kwargs=True)
    assert _excesses(stock, fast, batches) == []


def test_what_ran_stock_is_counted_with_its_reason(models, batches):
    stock, fast = models("BertModel")
    fast.encoder.layer[0].attention.register_forward_hook(lambda *args: None)
    found = compare(stock, fast, batches, _LIMITS)
    assert not found.all_fast
    ((path, count),) = found.calls.items()
    assert path.startswith("stock: ")
    assert count == 2


def test_hidden_states_are_named_by_layer(models, batches):
    stock, fast = models("BertModel")
    found = compare(stock, fast, batches, _LIMITS, output_hidden_states=True)
    layers = stock.config.num_hidden_layers
    assert {f"hidden_states[{index}]" for index in range(layers + 1)} <= found.overall.keys()


def test_a_pooled_output_as_wide_as_the_batch_is_long_is_no_list_of_tokens():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    found = by_text({"pooler_output": torch.ones(2, 3), "start_logits": torch.ones(2, 3)}, mask)
    assert [list(x.shape) for x in found["pooler_output"]] == [[1, 3], [1, 3]]
    assert [list(x.shape) for x in found["start_logits"]] == [[1, 2], [1, 1]]


def test_models_with_other_outputs_are_refused(models, batches):
    with pytest.raises(ValueError, match="expected the same"):
        compare(models("BertModel")[0], models("BertForMaskedLM")[1], batches, _LIMITS)
